<?php

namespace WHMCS\Module\Server\Provisioner;

use WHMCS\Database\Capsule;

/** The provisioner that a server record of WHMCS names: its address, our name there, and the shared secret. */
final class Server
{
    public const SSL_PORT = 443;
    public const PLAIN_PORT = 8080; // provisioner's own default, without a reverse proxy

    /** @var int of tblservers; 0 while the record is not saved yet */
    public $id;

    /** @var string such as https://provision.example.com:443 */
    public $address;

    /** @var string the name of this WHMCS in provisioner's settings */
    public $billing;

    /** @var string */
    public $secret;

    /**
     * @throws Problem if the record lacks a host name or its name for us is none
     */
    private function __construct(int $id, string $host, string $port, bool $secure, string $billing, string $secret)
    {
        $host = rtrim(preg_replace('~^https?://~i', '', trim($host)), '/');
        if (preg_match('/^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)$/D', $host) !== 1) {
            throw new Problem(
                'The server record has no usable host name: enter the host of provisioner\'s public_url,'
                . ' without https:// and without a path.'
            );
        }
        if (preg_match('/^[a-z0-9][a-z0-9._-]{0,63}$/D', $billing) !== 1) {
            throw new Problem(
                'The server record\'s username must be the name of the [billing.…] table in provisioner\'s'
                . ' config.toml; leave it empty for "whmcs".'
            );
        }
        $this->id = $id;
        $port = (int) $port > 0 ? (int) $port : ($secure ? self::SSL_PORT : self::PLAIN_PORT);
        $this->address = ($secure ? 'https://' : 'http://') . $host . ':' . $port;
        $this->billing = $billing;
        $this->secret = $secret;
    }

    /**
     * The server as WHMCS hands it to a module function; where a service has none, the one of its product.
     *
     * @param array<string, mixed> $params
     * @throws Problem if it is not set up
     */
    public static function ofParams(array $params): self
    {
        $isNamed = trim(self::text($params, 'serverhostname') . self::text($params, 'serverip')) !== '';
        return $isNamed ? self::ofRecord($params) : self::ofProduct((int) ($params['pid'] ?? 0));
    }

    /**
     * The very record that WHMCS hands over, and no other.
     *
     * @param array<string, mixed> $params
     * @throws Problem if it is not set up
     */
    public static function ofRecord(array $params): self
    {
        $host = trim(self::text($params, 'serverhostname'));
        return new self(
            (int) ($params['serverid'] ?? 0),
            $host !== '' ? $host : self::text($params, 'serverip'),
            self::text($params, 'serverport'),
            !empty($params['serversecure']) && $params['serversecure'] !== 'off',
            self::nameOf(self::text($params, 'serverusername')),
            self::secretOf([self::text($params, 'serveraccesshash'), self::text($params, 'serverpassword')])
        );
    }

    /**
     * The server of a service, in hooks and in the cron, where WHMCS hands over none.
     *
     * @throws Problem if it is not set up
     */
    public static function ofService(int $serviceId): self
    {
        $service = Capsule::table('tblhosting')->where('id', $serviceId)->first(['server', 'packageid']);
        if ($service !== null && (int) $service->server > 0 && self::record((int) $service->server) !== null) {
            return self::ofId((int) $service->server);
        }
        return self::ofProduct($service === null ? 0 : (int) $service->packageid);
    }

    /**
     * The server that a product's orders go to: of its server group, else the first of ours.
     *
     * @throws Problem if there is none
     */
    public static function ofProduct(int $productId): self
    {
        $group = $productId > 0 ? (int) Capsule::table('tblproducts')->where('id', $productId)->value('servergroup') : 0;
        $members = $group > 0
            ? Capsule::table('tblservergroupsrel')->where('groupid', $group)->pluck('serverid')->all()
            : [];
        foreach (self::ids() as $id) {
            if ($members === [] || in_array($id, array_map('intval', $members), true)) {
                return self::ofId($id);
            }
        }
        throw new Problem(
            'WHMCS has no server for this module: add one under System Settings → Servers with the module'
            . ' Provisioner.'
        );
    }

    /**
     * @throws Problem if it is not there or not set up
     */
    public static function ofId(int $id): self
    {
        $record = self::record($id);
        if ($record === null) {
            throw new Problem('The server ' . $id . ' is not in WHMCS any more.');
        }
        $host = trim((string) ($record->hostname ?? ''));
        return new self(
            $id,
            $host !== '' ? $host : (string) ($record->ipaddress ?? ''),
            (string) ($record->port ?? ''),
            ($record->secure ?? '') === 'on' || ($record->secure ?? '') === '1' || ($record->secure ?? '') === 1,
            self::nameOf((string) ($record->username ?? '')),
            self::secretOf([(string) ($record->accesshash ?? ''), (string) ($record->password ?? '')])
        );
    }

    /** @return int[] the servers of this module; those that take no new orders come last */
    public static function ids(): array
    {
        $ids = [[], []];
        foreach (Capsule::table('tblservers')->where('type', Module::NAME)->orderBy('id')->get() as $record) {
            $ids[empty($record->disabled) ? 0 : 1][] = (int) $record->id;
        }
        return array_merge($ids[0], $ids[1]);
    }

    /** @return string[] every form of the secret that must not be logged */
    public function secrets(): array
    {
        return Log::forms([$this->secret, substr($this->secret, 6)]);
    }

    private static function record(int $id): ?\stdClass
    {
        $record = Capsule::table('tblservers')->where('id', $id)->where('type', Module::NAME)->first();
        return $record === null ? null : (object) (array) $record;
    }

    private static function nameOf(string $username): string
    {
        $username = trim(html_entity_decode($username, ENT_QUOTES));
        return $username === '' ? 'whmcs' : $username;
    }

    /**
     * The first that is a secret, as it stands or decrypted: WHMCS keeps a server's password encrypted and its
     * access hash, depending on its version, plain. It also stores & as &amp;, so each is decoded once.
     *
     * @param string[] $kept
     */
    private static function secretOf(array $kept): string
    {
        foreach ($kept as $value) {
            foreach ([$value, Secrets::decrypt($value)] as $candidate) {
                $candidate = trim(html_entity_decode($candidate, ENT_QUOTES));
                if (strncmp($candidate, 'whsec_', 6) === 0) {
                    return $candidate;
                }
            }
        }
        return '';
    }

    /** @param array<string, mixed> $params */
    private static function text(array $params, string $key): string
    {
        return isset($params[$key]) && is_scalar($params[$key]) ? (string) $params[$key] : '';
    }
}
