<?php

namespace WHMCS\Module\Server\Provisioner;

/** What an event asks for: a plan, and the whole set of options over it, in the contract's units and ranges. */
final class Spec
{
    private const RANGES = [
        'cpu_cores' => [1, 1024, 'a whole number of cores'],
        'mem' => [64, 4194304, 'a whole number of MB'],
        'ip_count' => [1, 256, 'a whole number'],
    ];
    private const MEGABYTES = ['M' => 1, 'G' => 1024, 'T' => 1048576];

    /** @var string */
    public $plan;

    /** @var string '' for the plan's */
    public $template;

    /** @var array<string, int|string> cpu_cores, mem (MB), disk (such as 20G), ip_count; only those chosen */
    public $options;

    /**
     * @param array<string, int|string> $options
     */
    private function __construct(string $plan, string $template, array $options)
    {
        $this->plan = $plan;
        $this->template = $template;
        $this->options = $options;
    }

    /**
     * @param string $plan
     * @param string $template the product's; a customer's choice goes before it
     * @param array<string, string> $choices of `Choices::of`
     * @param callable(): array<string, mixed> $values gives the plan's values; asked only where something adds
     * @throws Problem if a value is no such number or out of range
     */
    public static function of(string $plan, string $template, array $choices, callable $values): self
    {
        if ($plan === '') {
            throw new Problem('This product has no plan: choose one under Module Settings.');
        }
        $adds = array_intersect(Choices::ADDING, array_keys($choices)) !== [];
        $base = $adds ? $values() : [];
        $options = [];
        foreach (['cpu_cores', 'mem', 'disk', 'ip_count'] as $key) {
            $value = self::option($key, $choices[$key] ?? '', $choices[$key . '+'] ?? '', $base[$key] ?? null);
            if ($value !== null) {
                $options[$key] = $value;
            }
        }
        return new self($plan, $choices['template'] ?? $template, $options);
    }

    /** The size of a disk such as 20G in MB; null if it is none. */
    public static function megabytes(string $disk): ?int
    {
        return preg_match('/^([1-9][0-9]{0,4})([MGT])$/D', $disk, $parts) === 1
            ? (int) $parts[1] * self::MEGABYTES[$parts[2]]
            : null;
    }

    /**
     * One option's value on the wire.
     *
     * @param string $chosen '' for none: the plan's
     * @param string $added '' for nothing
     * @param int|string|null $base the plan's value
     * @return int|string|null null where nothing was chosen
     * @throws Problem
     */
    public static function option(string $key, string $chosen, string $added, $base)
    {
        if ($chosen === '' && $added === '') {
            return null;
        }
        if ($added !== '' && preg_match('/^[0-9]{1,7}$/D', $added) !== 1) {
            throw new Problem('The configurable option ' . $key . '+ has the value "' . $added . '"; it must be a whole number'
                . ($key === 'mem' ? ' of MB.' : ($key === 'disk' ? ' of GB.' : '.')));
        }
        if ($chosen === '' && $base === null) {
            throw new Problem('The configurable option ' . $key . '+ adds to the plan, whose ' . $key . ' is not known.');
        }
        return $key === 'disk'
            ? self::disk($chosen === '' ? (string) $base : $chosen, (int) $added)
            : self::number($key, $chosen === '' ? (string) $base : $chosen, (int) $added);
    }

    private static function number(string $key, string $value, int $added): int
    {
        list($least, $most, $what) = self::RANGES[$key];
        $number = preg_match('/^[0-9]{1,7}$/D', $value) === 1 ? (int) $value + $added : 0;
        if ($number < $least || $number > $most) {
            throw new Problem('The configurable option ' . $key . ' comes to "' . ($number > 0 ? $number : $value)
                . '"; it must be ' . $what . ' from ' . $least . ' to ' . $most . '.');
        }
        return $number;
    }

    private static function disk(string $value, int $addedGigabytes): string
    {
        $size = self::megabytes(preg_match('/^[0-9]+$/D', $value) === 1 ? ltrim($value, '0') . 'G' : $value);
        if ($size === null) {
            throw new Problem('The configurable option disk has the value "' . $value
                . '"; it must be a whole number of GB from 1 to 99999, or such as 20G or 1T.');
        }
        $size += $addedGigabytes * 1024;
        foreach (['G', 'M'] as $unit) {
            $count = $size / self::MEGABYTES[$unit];
            if (is_int($count) && $count <= 99999) {
                return $count . $unit;
            }
        }
        if ($size % self::MEGABYTES['T'] === 0 && $size / self::MEGABYTES['T'] <= 99999) {
            return intdiv($size, self::MEGABYTES['T']) . 'T';
        }
        throw new Problem('The configurable option disk comes to more than 99999G, which is not possible.');
    }
}
