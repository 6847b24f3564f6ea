<?php

namespace WHMCS\Module\Server\Provisioner;

use WHMCS\Database\Capsule;

/** A service as WHMCS has it. */
final class Service
{
    /** @var int */
    public $id;

    /** @var int */
    public $clientId;

    /** @var int */
    public $productId;

    /** @var string WHMCS's word, such as Active */
    public $status;

    /** @var int */
    public $quantity;

    /** @var bool whether it is an addon to another service */
    public $isAddon;

    /** @var string its domain field; '' for none */
    public $domain;

    /** @var string */
    public $username;

    /** @var string as WHMCS keeps it */
    public $encryptedPassword;

    /** @var string[] the dedicated one first */
    public $ips;

    private function __construct(\stdClass $row)
    {
        $this->id = (int) $row->id;
        $this->clientId = (int) ($row->userid ?? 0);
        $this->productId = (int) ($row->packageid ?? 0);
        $this->status = (string) ($row->domainstatus ?? '');
        $this->quantity = max(1, (int) ($row->qty ?? 1));
        $this->isAddon = false;
        $this->domain = trim((string) ($row->domain ?? ''));
        $this->username = (string) ($row->username ?? '');
        $this->encryptedPassword = (string) ($row->password ?? '');
        $this->ips = self::addresses(($row->dedicatedip ?? '') . "\n" . ($row->assignedips ?? ''));
    }

    /**
     * @param array<string, mixed> $params of a module function
     * @throws Problem if they name no service
     */
    public static function ofParams(array $params): self
    {
        $id = (int) ($params['serviceid'] ?? 0);
        if ($id <= 0) {
            throw new Problem('WHMCS named no service, so nothing was done.');
        }
        $row = self::row($id) ?? (object) [
            'id' => $id,
            'userid' => $params['userid'] ?? 0,
            'packageid' => $params['pid'] ?? 0,
            'domainstatus' => $params['status'] ?? '',
            'domain' => $params['domain'] ?? '',
        ];
        $service = new self($row);
        $service->isAddon = (int) ($params['addonId'] ?? 0) > 0;
        $service->quantity = max($service->quantity, (int) ($params['qty'] ?? 1));
        // An upgrade runs the module with the new product, whether or not the row names it yet.
        $service->productId = (int) ($params['pid'] ?? $service->productId);
        return $service;
    }

    /** A service of this module, null if it is none of ours or none at all. */
    public static function ours(int $id): ?self
    {
        $row = self::row($id);
        if ($row === null) {
            return null;
        }
        $module = Capsule::table('tblproducts')->where('id', (int) $row->packageid)->value('servertype');
        return $module === Module::NAME ? new self($row) : null;
    }

    /** @return self[] those of our services that a column of tblhosting picks, such as userid or orderid */
    public static function oursWhere(string $column, int $value): array
    {
        $products = Capsule::table('tblproducts')->where('servertype', Module::NAME)->pluck('id')->all();
        $rows = Capsule::table('tblhosting')->where($column, $value)->whereIn('packageid', $products)->get();
        $services = [];
        foreach ($rows as $row) {
            $services[] = new self((object) (array) $row);
        }
        return $services;
    }

    /**
     * What can be sold only one by one.
     *
     * @throws Problem
     */
    public function refuseWhatHasNoVm(): void
    {
        if ($this->isAddon) {
            throw new Problem('An addon cannot be a server of its own: sell it as a product, or as a configurable option.');
        }
        if ($this->quantity > 1) {
            throw new Problem('This service has the quantity ' . $this->quantity . ', but a service is one server: set it'
                . ' to 1, order the others as services of their own, and set the product\'s "Allow Multiple Quantities" to No.');
        }
    }

    /**
     * Its host name, '' for none.
     *
     * @throws Problem if its domain is no host name
     */
    public function hostname(): string
    {
        if ($this->domain === '') {
            return '';
        }
        $label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
        $numeric = preg_match('/^[0-9]+(\.[0-9]+){3}$/D', $this->domain) === 1;
        if ($numeric || strlen($this->domain) > 253 || preg_match("/^$label(?:\\.$label)*$/D", $this->domain) !== 1) {
            throw new Problem(
                'The domain of this service is no host name: correct it to one such as web1.example.com, or'
                . ' empty it.'
            );
        }
        return $this->domain;
    }

    /**
     * The id of a VM that exists already, from the custom field `vmid` or from the one in which another module
     * kept it; 0 for none.
     *
     * @param array<string, mixed> $params
     * @throws Problem if there is something else in the field
     */
    public function vmid(array $params, string $otherField): int
    {
        foreach (['vmid', $otherField] as $field) {
            $value = $field === '' ? '' : trim($this->customField($params, $field));
            if ($value === '' || $value === '0') {
                continue;
            }
            if (preg_match('/^[1-9][0-9]{0,17}$/D', $value) !== 1) {
                throw new Problem('The custom field "' . $field . '" of this service must be the number of its VM, or empty.');
            }
            return (int) $value;
        }
        return 0;
    }

    /** @param array<string, mixed> $params */
    private function customField(array $params, string $field): string
    {
        $given = is_array($params['customfields'] ?? null) ? $params['customfields'] : [];
        foreach ($given as $name => $value) {
            if (is_scalar($value) && strcasecmp(Choices::key((string) $name), $field) === 0) {
                return (string) $value;
            }
        }
        // WHMCS may name a field by its label; and what another module kept there belongs to the old product.
        $rows = Capsule::table('tblcustomfieldsvalues')
            ->join('tblcustomfields', 'tblcustomfields.id', '=', 'tblcustomfieldsvalues.fieldid')
            ->where('tblcustomfields.type', 'product')->where('tblcustomfieldsvalues.relid', $this->id)
            ->get(['tblcustomfields.fieldname', 'tblcustomfieldsvalues.value']);
        foreach ($rows as $row) {
            if (strcasecmp(Choices::key((string) $row->fieldname), $field) === 0 && trim((string) $row->value) !== '') {
                return (string) $row->value;
            }
        }
        return '';
    }

    private static function row(int $id): ?\stdClass
    {
        $row = Capsule::table('tblhosting')->where('id', $id)->first();
        return $row === null ? null : (object) (array) $row;
    }

    /** @return string[] */
    private static function addresses(string $text): array
    {
        $parts = preg_split('/[\s,;]+/', $text);
        return array_values(array_unique(array_filter($parts === false ? [] : $parts, static function (string $part): bool {
            return filter_var($part, FILTER_VALIDATE_IP) !== false;
        })));
    }
}
