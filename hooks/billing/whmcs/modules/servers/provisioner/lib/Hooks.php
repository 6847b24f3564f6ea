<?php

namespace WHMCS\Module\Server\Provisioner;

use WHMCS\Database\Capsule;

/** What happens at WHMCS's hooks. */
final class Hooks
{
    private const CRON_S = 20.0;
    private const PAGE_S = 3.0; // a customer waits for the cart
    private const LEAST_PASSWORD = 4; // characters; what is shorter would blot out half of a mail

    /** @var array<int, string> the services of an order that is ended in this request, and why */
    private static $ended = [];

    /**
     * Calls one of the methods below; whatever goes wrong in it, no page of WHMCS breaks.
     *
     * @param mixed $vars as WHMCS gives them
     * @return array<int|string, mixed>
     */
    public static function run(string $hook, $vars): array
    {
        try {
            return self::$hook(is_array($vars) ? $vars : []);
        } catch (\Throwable $problem) {
            Log::activity('a hook (' . $hook . ') did nothing. ' . Entry::sentence($problem));
            return [];
        }
    }

    /** Why the order of a service is ended in this request; '' if it is not. */
    public static function endedOrder(int $serviceId): string
    {
        return self::$ended[$serviceId] ?? '';
    }

    /** A password that can be compared and not read; '' of none. */
    public static function digest(string $password): string
    {
        $password = html_entity_decode($password, ENT_QUOTES);
        return $password === '' ? '' : hash_hmac('sha256', $password, Store::installation());
    }

    /**
     * Holds the product's own welcome mail back until it could say something true: WHMCS sends it as soon as the
     * order was taken, minutes before there is a server.
     */
    private static function mailIsSent(array $vars): array
    {
        $service = Service::ours((int) ($vars['relid'] ?? 0));
        if ($service === null || self::text($vars, 'messagename') !== self::welcomeMailOf($service)) {
            return [];
        }
        return self::hasCredentials($service) ? [] : ['abortsend' => true];
    }

    /**
     * Whether the credentials of the VM are in WHMCS. Its own fields do not tell: before them WHMCS has a username
     * and a password that it made up, and an IP may be missing for good (of a linked VM) or entered by hand. So
     * the password of the order is remembered, as a digest: as long as it is still there, nothing has come.
     * Where nothing is remembered, a service without an IP has not got them.
     */
    private static function hasCredentials(Service $service): bool
    {
        $password = Secrets::decrypt($service->encryptedPassword);
        $noted = Store::service($service->id);
        if ($noted === null || $noted->generated === '') {
            return $noted !== null || $service->ips !== [];
        }
        return $password !== '' && !hash_equals($noted->generated, self::digest($password));
    }

    private static function welcomeMailOf(Service $service): string
    {
        $id = (int) Capsule::table('tblproducts')->where('id', $service->productId)->value('welcomeemail');
        return $id > 0 ? (string) Capsule::table('tblemailtemplates')->where('id', $id)->value('name') : '';
    }

    /** Keeps passwords out of the log of sent mails, which clients and staff can read for years. */
    private static function mailIsLogged(array $vars): array
    {
        $message = self::text($vars, 'message');
        $client = (int) ($vars['userid'] ?? 0);
        if ($message === '' || $client <= 0) {
            return [];
        }
        $passwords = [];
        foreach (Service::oursWhere('userid', $client) as $service) {
            $kept = Secrets::decrypt($service->encryptedPassword);
            array_push($passwords, $kept, html_entity_decode($kept, ENT_QUOTES));
        }
        $passwords = array_filter($passwords, static fn (string $password) => strlen($password) >= self::LEAST_PASSWORD);
        $forms = Log::forms($passwords);
        usort($forms, static fn (string $one, string $other) => strlen($other) - strlen($one));
        $hidden = str_replace($forms, '••••••••', $message);
        return $hidden === $message ? [] : ['message' => $hidden];
    }

    /** Stops a change to a smaller disk before it is sent. */
    private static function packageChanges(array $vars): array
    {
        $params = is_array($vars['params'] ?? null) ? $vars['params'] : $vars;
        $service = Service::ours((int) ($params['serviceid'] ?? 0));
        if ($service === null || !self::isOurs($params)) {
            return [];
        }
        $client = new Client(Server::ofParams($params), self::PAGE_S);
        $smaller = self::smallerDisk($params, $service, $client);
        if ($smaller === '') {
            return [];
        }
        Log::report('A change was stopped', 'Service ' . $service->id . ': ' . $smaller, $service->clientId);
        return ['abortcmd' => true];
    }

    /** Stops an upgrade to a smaller disk before money moves. */
    private static function upgradeIsOrdered(array $vars): array
    {
        $service = Service::ours((int) ($vars['id'] ?? 0));
        if ($service === null) {
            return [];
        }
        $product = (int) ($vars['pid'] ?? 0) ?: $service->productId;
        $row = Capsule::table('tblproducts')->where('id', $product)->where('servertype', Module::NAME)->first();
        if ($row === null) {
            return [];
        }
        $asked = $vars['configoptions'] ?? $vars['configoption'] ?? [];
        $options = Choices::ofProduct($product);
        $service->productId = $product;
        $client = new Client(Server::ofService($service->id), self::PAGE_S);
        $smaller = self::smallerDisk([
            'configoption1' => $row->configoption1 ?? '',
            'configoption2' => $row->configoption2 ?? '',
            'configoptions' => Choices::ofService($service->id, $options, is_array($asked) ? $asked : []),
        ], $service, $client);
        return $smaller === '' ? [] : [$smaller];
    }

    /**
     * Why what is asked for has too small a disk; '' if it has not, if its plan keeps the larger one, or if that
     * cannot be known now: then the service itself refuses it.
     *
     * @param array<string, mixed> $params configoption1, configoption2, configoptions
     */
    private static function smallerDisk(array $params, Service $service, Client $client): string
    {
        try {
            $known = $client->service((string) $service->id);
            $present = (string) ($known['spec']['disk'] ?? '');
            if ($present === '') {
                return '';
            }
            $spec = Actions::specOf($params, $service, $client);
            $plan = (new Catalogue($client))->plan($spec->plan);
        } catch (Problem $problem) {
            return '';
        }
        $asked = (string) ($spec->options['disk'] ?? $plan['disk'] ?? '');
        $is = Spec::megabytes($present);
        $becomes = Spec::megabytes($asked);
        if ($is === null || $becomes === null || $becomes >= $is || ($plan['disk_shrink'] ?? 'refuse') === 'keep') {
            return '';
        }
        return 'The disk of a server cannot be made smaller: it has ' . $present . ', and this choice has ' . $asked
            . '. Please choose one with at least ' . $present . '.';
    }

    /** Tells staff of a VM that runs on though its service was deleted. */
    private static function serviceIsDeleted(array $vars): array
    {
        $id = (int) ($vars['serviceid'] ?? 0);
        $noted = $id > 0 ? Store::service($id) : null;
        if ($noted === null && Service::ours($id) === null) {
            return [];
        }
        $words = 'Service ' . $id . ' was deleted in WHMCS without a Terminate, and ';
        try {
            $server = $noted !== null && (int) $noted->server_id > 0
                ? Server::ofId((int) $noted->server_id)
                : Server::ofService($id);
            $known = (new Client($server))->service((string) $id);
            $gone = $known === null || in_array($known['status'] ?? '', ['terminating', 'terminated'], true);
            if ($gone || (($known['status'] ?? '') === 'failed' && ($known['vmid'] ?? null) === null)) {
                return [];
            }
            $words .= 'its server' . (isset($known['vmid']) ? ' (VM ' . $known['vmid'] . ')' : '') . ' is still there and costs'
                . ' money. To end it, run on provisioner\'s machine: provisioner send service.terminate ' . $id
                . ' --billing ' . $server->billing;
        } catch (Problem $problem) {
            $words .= 'whether its server is still there could not be asked. ' . $problem->getMessage();
        }
        Log::report('A deleted service may have a server', $words, (int) ($vars['clientId'] ?? $vars['userid'] ?? 0));
        return [];
    }

    private static function orderIsFraud(array $vars): array
    {
        return self::end((int) ($vars['orderid'] ?? 0), 'The order was marked as fraud.');
    }

    private static function orderIsCancelled(array $vars): array
    {
        return self::end((int) ($vars['orderid'] ?? 0), 'The order was cancelled.');
    }

    /** These hooks run before WHMCS terminates the order's services, in the same request. */
    private static function end(int $orderId, string $why): array
    {
        foreach ($orderId > 0 ? Service::oursWhere('orderid', $orderId) : [] as $service) {
            self::$ended[$service->id] = $why;
        }
        return [];
    }

    private static function productIsShown(array $vars): array
    {
        $found = ProductCheck::of((int) ($vars['pid'] ?? 0));
        return $found === null ? [] : ['Provisioner' => $found->html()];
    }

    private static function productIsSaved(array $vars): array
    {
        $found = ProductCheck::of((int) ($vars['pid'] ?? 0), $vars);
        foreach ($found === null ? [] : $found->wrong() as $sentence) {
            Log::activity('product ' . (int) $vars['pid'] . ': ' . $sentence);
        }
        return [];
    }

    private static function cronHasRun(array $vars): array
    {
        Cron::run(self::CRON_S);
        return [];
    }

    /** @param array<string, mixed> $vars */
    private static function text(array $vars, string $name): string
    {
        return isset($vars[$name]) && is_scalar($vars[$name]) ? (string) $vars[$name] : '';
    }

    /** @param array<string, mixed> $params */
    private static function isOurs(array $params): bool
    {
        return !isset($params['moduletype']) || $params['moduletype'] === Module::NAME;
    }
}
