<?php

namespace WHMCS\Module\Server\Provisioner;

use WHMCS\Database\Capsule;

/**
 * What a customer chose among the configurable options, by our keys. Options are named `key|Label` and their
 * values `value|Label`. WHMCS's documentation says that a module gets them by "the option's name" and not which
 * part of it, so any part is understood, by looking at the options as they are defined.
 */
final class Choices
{
    public const KEYS = ['cpu_cores', 'mem', 'disk', 'ip_count', 'template'];
    public const ADDING = ['cpu_cores+', 'mem+', 'disk+', 'ip_count+'];

    public const YES_NO = 3;
    public const QUANTITY = 4;

    /**
     * By key, what was chosen; what is not ours is left out, and what was not chosen ('' or 0) too.
     *
     * @param array<string, mixed> $configoptions as WHMCS hands them to a module
     * @param \stdClass[] $options the definitions, of `ofProduct`
     * @return array<string, string>
     */
    public static function of(array $configoptions, array $options): array
    {
        $chosen = [];
        foreach ($configoptions as $name => $value) {
            $option = self::named((string) $name, $options);
            $key = $option === null ? self::key((string) $name) : $option->key;
            if (!self::isOurs($key) || !is_scalar($value)) {
                continue;
            }
            $value = self::value(self::plain((string) $value), $option);
            if ($value !== '' && $value !== '0') {
                $chosen[$key] = $value;
            }
        }
        return $chosen;
    }

    public static function isOurs(string $key): bool
    {
        return in_array($key, self::KEYS, true) || in_array($key, self::ADDING, true);
    }

    /**
     * The configurable options of a product.
     *
     * @return \stdClass[] id, key, label, type, least, most (of quantities) and values: [id => value|Label]
     */
    public static function ofProduct(int $productId): array
    {
        $groups = Capsule::table('tblproductconfiglinks')->where('pid', $productId)->pluck('gid')->all();
        $options = [];
        foreach (Capsule::table('tblproductconfigoptions')->whereIn('gid', $groups)->orderBy('id')->get() as $row) {
            $name = self::plain((string) $row->optionname);
            $options[(int) $row->id] = (object) [
                'id' => (int) $row->id,
                'name' => $name,
                'key' => self::key($name),
                'label' => self::label($name),
                'type' => (int) $row->optiontype,
                'least' => (int) ($row->qtyminimum ?? 0),
                'most' => (int) ($row->qtymaximum ?? 0),
                'values' => [],
            ];
        }
        $values = Capsule::table('tblproductconfigoptionssub')->whereIn('configid', array_keys($options))->orderBy('id');
        foreach ($values->get() as $row) {
            $options[(int) $row->configid]->values[(int) $row->id] = self::plain((string) $row->optionname);
        }
        return array_values($options);
    }

    /**
     * What a service has chosen, with another choice over it, in the form in which WHMCS hands it to a module.
     *
     * @param \stdClass[] $options the definitions
     * @param array<int|string, mixed> $instead [option id => value id or quantity], as an upgrade asks for
     * @return array<string, string>
     */
    public static function ofService(int $serviceId, array $options, array $instead): array
    {
        $had = [];
        foreach (Capsule::table('tblhostingconfigoptions')->where('relid', $serviceId)->get() as $row) {
            $had[(int) $row->configid] = $row;
        }
        $chosen = [];
        foreach ($options as $option) {
            $row = $had[$option->id] ?? null;
            $counted = in_array($option->type, [self::QUANTITY, self::YES_NO], true);
            $value = $row === null ? 0 : (int) ($counted ? $row->qty : $row->optionid);
            if (isset($instead[$option->id]) && is_scalar($instead[$option->id])) {
                $value = (int) $instead[$option->id];
            }
            $chosen[$option->name] = $counted ? (string) $value : self::key($option->values[$value] ?? '');
        }
        return $chosen;
    }

    /** The part before the bar; all of it where there is none. */
    public static function key(string $name): string
    {
        return trim(explode('|', $name, 2)[0]);
    }

    public static function label(string $name): string
    {
        $parts = explode('|', $name, 2);
        return trim($parts[1] ?? $parts[0]);
    }

    /** WHMCS keeps & as &amp;. */
    private static function plain(string $kept): string
    {
        return trim(html_entity_decode($kept, ENT_QUOTES));
    }

    /** @param \stdClass[] $options */
    private static function named(string $name, array $options): ?\stdClass
    {
        $name = self::plain($name);
        foreach (['name', 'key', 'label'] as $part) {
            foreach ($options as $option) {
                if ($option->{$part} === $name) {
                    return $option;
                }
            }
        }
        return null;
    }

    private static function value(string $value, ?\stdClass $option): string
    {
        foreach ($option === null ? [] : $option->values as $defined) {
            if ($value === self::label($defined) && $value !== self::key($defined)) {
                return self::key($defined);
            }
        }
        return self::key($value);
    }
}
