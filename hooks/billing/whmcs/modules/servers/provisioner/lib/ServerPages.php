<?php

namespace WHMCS\Module\Server\Provisioner;

use WHMCS\Database\Capsule;

/** What WHMCS shows of a server record and of a product's Module Settings. */
final class ServerPages
{
    private const SKEW_WARNS_S = 60;
    private const SYNC_S = 60.0;
    private const MOST_PAGES = 200; // of services.list

    /** @return array<string, mixed> */
    public static function metaData(): array
    {
        return [
            'DisplayName' => 'Provisioner',
            'APIVersion' => '1.1',
            'RequiresServer' => true,
            'DefaultNonSSLPort' => (string) Server::PLAIN_PORT,
            'DefaultSSLPort' => (string) Server::SSL_PORT,
            'ServiceSingleSignOnLabel' => 'Manage server',
            'ListAccountsUniqueIdentifierDisplayName' => 'Host name',
            'ListAccountsUniqueIdentifierField' => 'domain',
            'ListAccountsProductField' => 'configoption1',
        ];
    }

    /**
     * The settings of a product. Modules get them by position: never reorder, add at the end.
     *
     * @return array<string, array<string, mixed>>
     */
    public static function productSettings(): array
    {
        return [
            'Plan' => [
                'Type' => 'text',
                'Size' => '25',
                'Loader' => Module::NAME . '_PlanLoader',
                'SimpleMode' => true,
                'Description' => 'One of the plans in provisioner\'s config.toml',
            ],
            'Template' => [
                'Type' => 'text',
                'Size' => '25',
                'Loader' => Module::NAME . '_TemplateLoader',
                'SimpleMode' => true,
                'Description' => 'What is installed; empty: the plan\'s',
            ],
            'VM field of another module' => [
                'Type' => 'text',
                'Size' => '25',
                'SimpleMode' => true,
                'Description' => 'Only when moving from another module: the custom field in which it kept the VM\'s'
                    . ' number. Such services are linked, not created again.',
            ],
        ];
    }

    /**
     * @param array<string, mixed> $params
     * @return array<string, string> name => label
     * @throws \Exception with the sentence that WHMCS shows
     */
    public static function plans($params): array
    {
        return self::choices($params, static fn (Catalogue $catalogue) => $catalogue->plans());
    }

    /**
     * @param array<string, mixed> $params
     * @return array<string, string> name => label
     * @throws \Exception with the sentence that WHMCS shows
     */
    public static function templates($params): array
    {
        return ['' => 'as the plan says']
            + self::choices($params, static fn (Catalogue $catalogue) => $catalogue->templates());
    }

    /**
     * Whether orders would come through, and if not, what to do.
     *
     * @param array<string, mixed> $params
     * @return array{success: bool, error: string}
     */
    public static function test(array $params): array
    {
        return Entry::answer(static function () use ($params): array {
            $client = new Client(Server::ofRecord($params), 2 * Client::ACTION_S);
            $client->tryAgain();
            $pong = $client->query('ping', ['drop_in_version' => Module::VERSION]);
            $wrong = array_merge(self::wrongVersions($pong), self::wrongHere(), self::wrongPlans($client));
            $notes = self::notes($pong, $client->server());
            foreach ($notes as $note) {
                Log::activity('Test Connection: ' . $note);
            }
            return ['success' => $wrong === [], 'error' => implode(' ', array_merge($wrong, $notes))];
        }, static fn (string $sentence): array => ['success' => false, 'error' => $sentence]);
    }

    /**
     * All services that have a VM, for WHMCS's Server Sync.
     *
     * @param array<string, mixed> $params
     * @return array<string, mixed>
     */
    public static function accounts(array $params): array
    {
        return Entry::answer(static function () use ($params): array {
            $client = new Client(Server::ofRecord($params), self::SYNC_S);
            $accounts = [];
            foreach (self::services($client) as $service) {
                if (in_array($service['status'] ?? '', ['active', 'suspended'], true)) {
                    $accounts[] = self::account($service);
                }
            }
            return ['success' => true, 'accounts' => $accounts];
        }, static fn (string $sentence): array => ['success' => false, 'error' => $sentence]);
    }

    /** @return array<int, array<string, mixed>> */
    private static function services(Client $client): array
    {
        $services = [];
        $cursor = [];
        for ($page = 0; $page < self::MOST_PAGES; $page++) {
            $answer = $client->query('services.list', $cursor);
            array_push($services, ...array_values(is_array($answer['items'] ?? null) ? $answer['items'] : []));
            if (!is_string($answer['next'] ?? null) || $answer['next'] === '') {
                return $services;
            }
            $cursor = ['cursor' => $answer['next']];
        }
        throw new Problem('Provisioner lists more services than Server Sync can show.');
    }

    /**
     * One line of Server Sync. Matching goes by the domain, so where WHMCS has the service its own domain stands.
     *
     * @param array<string, mixed> $service
     * @return array<string, string>
     */
    private static function account(array $service): array
    {
        $id = (string) ($service['service_id'] ?? '');
        $row = ctype_digit($id) ? Capsule::table('tblhosting')->where('id', (int) $id)->first() : null;
        $domain = $row !== null && (string) $row->domain !== '' ? (string) $row->domain : (string) ($service['hostname'] ?? '');
        $made = strtotime((string) ($service['created_at'] ?? ''));
        return [
            'email' => $row === null ? '' : (string) Capsule::table('tblclients')->where('id', $row->userid)->value('email'),
            'username' => $row === null ? '' : (string) $row->username,
            'domain' => $domain,
            'uniqueIdentifier' => $domain,
            'product' => (string) ($service['plan'] ?? ''),
            'primaryip' => (string) ($service['ips'][0] ?? ''),
            'created' => date('Y-m-d H:i:s', $made === false ? 0 : $made),
            'status' => ($service['status'] ?? '') === 'suspended' ? 'Suspended' : 'Active',
        ];
    }

    /**
     * @param mixed $params
     * @param callable(Catalogue): array<string, array<string, mixed>> $ask
     * @return array<string, string>
     * @throws \Exception
     */
    private static function choices($params, callable $ask): array
    {
        return Entry::answer(static function () use ($params, $ask): array {
            $labels = [];
            foreach ($ask(new Catalogue(new Client(Server::ofParams(is_array($params) ? $params : [])))) as $name => $item) {
                $label = (string) ($item['label'] ?? '');
                $labels[$name] = $label === '' || $label === $name ? $name : $label . ' (' . $name . ')';
            }
            if ($labels === []) {
                throw new Problem('Provisioner offers none to this WHMCS: look at config.toml and run "provisioner check".');
            }
            return $labels;
        }, static function (string $sentence): array {
            throw new \Exception($sentence);
        });
    }

    /**
     * @param array<string, mixed> $pong
     * @return string[]
     */
    private static function wrongVersions(array $pong): array
    {
        if (($pong['ok'] ?? false) !== true) {
            return ['What answered is not provisioner: check host name, port and SSL of the server record.'];
        }
        $wrong = [];
        $least = (string) ($pong['drop_in']['minimum'] ?? '0');
        if (version_compare(Module::VERSION, $least, '<')) {
            $wrong[] = 'This module is version ' . Module::VERSION . ', and provisioner needs at least ' . $least
                . ': install the newer one with "provisioner hooks install whmcs".';
        }
        $version = (string) ($pong['version'] ?? '');
        if (version_compare($version, Module::LEAST_SERVICE, '<')) {
            $wrong[] = 'provisioner is version ' . $version . ', and this module needs at least ' . Module::LEAST_SERVICE
                . ': update provisioner first.';
        }
        return $wrong;
    }

    /** @return string[] */
    private static function wrongHere(): array
    {
        return defined('PROVISIONER_HOOKS') ? [] : [
            'WHMCS has not read this module\'s hooks.php, so nothing is sent later or fetched: open the Module Settings of'
            . ' a product with this module and press Save Changes.',
        ];
    }

    /** @return string[] */
    private static function wrongPlans(Client $client): array
    {
        $plans = (new Catalogue($client))->plans();
        $wrong = [];
        $products = Capsule::table('tblproducts')->where('servertype', Module::NAME)->orderBy('id')->get();
        foreach ($products as $product) {
            $plan = (string) $product->configoption1;
            if (!isset($plans[$plan]) && self::isOf((int) $product->servergroup, $client->server()->id)) {
                $wrong[] = $plan === ''
                    ? 'The product "' . $product->name . '" has no plan.'
                    : 'The product "' . $product->name . '" names the plan "' . $plan . '", which provisioner has not got.';
            }
        }
        return $wrong;
    }

    private static function isOf(int $group, int $server): bool
    {
        return $group === 0 || $server === 0 || Capsule::table('tblservergroupsrel')
            ->where('groupid', $group)->where('serverid', $server)->exists();
    }

    /**
     * What works, and may not for long.
     *
     * @param array<string, mixed> $pong
     * @return string[]
     */
    private static function notes(array $pong, Server $server): array
    {
        $notes = [];
        $skew = (int) round((float) ($pong['clock_skew'] ?? 0));
        if (abs($skew) > self::SKEW_WARNS_S) {
            $notes[] = Words::clock($skew);
        }
        $newest = (string) ($pong['drop_in']['newest'] ?? '0');
        if (version_compare(Module::VERSION, $newest, '<')) {
            $notes[] = 'Version ' . $newest . ' of this module is there; this is ' . Module::VERSION . '.';
        }
        $isPlain = preg_match('~^http://(?!127\.|localhost|\[::1\])~', $server->address) === 1;
        if ($isPlain) {
            $notes[] = 'The connection is not encrypted: tick SSL in the server record, or passwords that are fetched can'
                . ' be read on the way.';
        }
        return $notes;
    }
}
