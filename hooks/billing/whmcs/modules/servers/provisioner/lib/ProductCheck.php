<?php

namespace WHMCS\Module\Server\Provisioner;

use WHMCS\Database\Capsule;

/** Finds what is wrong with a product before its first order does: plan, template, configurable options. */
final class ProductCheck
{
    private const PAGE_S = 4.0;

    /** Names that people give to an option of ours, beside those that are only misspelt. */
    private const MEANT = [
        'cpu' => 'cpu_cores', 'cpus' => 'cpu_cores', 'cores' => 'cpu_cores', 'vcpu' => 'cpu_cores', 'vcpus' => 'cpu_cores',
        'ram' => 'mem', 'memory' => 'mem', 'storage' => 'disk', 'hdd' => 'disk', 'ssd' => 'disk', 'diskspace' => 'disk',
        'ip' => 'ip_count', 'ips' => 'ip_count', 'ipcount' => 'ip_count', 'os' => 'template', 'image' => 'template',
        'cpucores' => 'cpu_cores', 'cpucount' => 'cpu_cores', 'operatingsystem' => 'template', 'ipaddresses' => 'ip_count',
    ];
    private const SAVED = ['servertype', 'configoption1', 'configoption2', 'allowqty'];
    private const NEAR = 2; // letters that a typing mistake changes

    /** @var string[] */
    private $wrong = [];

    /** @var array<string, mixed> the plan's values */
    private $plan = [];

    /** @var string */
    private $summary = '';

    /**
     * Looks a product over; null if it is none of this module.
     *
     * @param array<string, mixed> $saved what is being saved, where that may not be in the database yet
     */
    public static function of(int $productId, array $saved = []): ?self
    {
        $row = Capsule::table('tblproducts')->where('id', $productId)->first();
        $product = (object) (array_intersect_key($saved, array_flip(self::SAVED)) + (array) $row);
        if ($row === null || ($product->servertype ?? '') !== Module::NAME) {
            return null;
        }
        $check = new self();
        $check->quantity($product);
        try {
            $catalogue = new Catalogue(new Client(Server::ofProduct($productId), self::PAGE_S));
            $templates = $check->planAndTemplate($product, $catalogue);
            $check->options(Choices::ofProduct($productId), $templates);
        } catch (Problem $problem) {
            $check->wrong[] = $problem->getMessage();
        }
        return $check;
    }

    /** @return string[] a sentence for each thing that is wrong */
    public function wrong(): array
    {
        return $this->wrong;
    }

    public function html(): string
    {
        if ($this->wrong === []) {
            return htmlspecialchars($this->summary . ' Everything fits.', ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
        }
        $lines = array_map(static function (string $sentence): string {
            return '<li>' . htmlspecialchars($sentence, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8') . '</li>';
        }, $this->wrong);
        return '<ul>' . implode('', $lines) . '</ul>';
    }

    private function quantity(object $product): void
    {
        if (!empty($product->allowqty)) {
            $this->wrong[] = 'Customers may order several at once, but a service is one server: set "Allow Multiple'
                . ' Quantities" to No.';
        }
    }

    /**
     * @return array<string, mixed> the templates that may be chosen, by name
     * @throws Problem if they cannot be known
     */
    private function planAndTemplate(object $product, Catalogue $catalogue): array
    {
        $templates = $catalogue->templates();
        try {
            $this->plan = $catalogue->plan(trim((string) $product->configoption1));
        } catch (Unavailable $unavailable) {
            throw $unavailable;
        } catch (Problem $problem) {
            $this->wrong[] = $problem->getMessage();
            return $templates;
        }
        $plan = $this->plan;
        $this->summary = 'Plan ' . $plan['name'] . ': ' . ($plan['cpu_cores'] ?? '?') . ' cores, ' . ($plan['mem'] ?? '?')
            . ' MB, ' . ($plan['disk'] ?? '?') . ', ' . ($plan['ip_count'] ?? '?') . ' IPs, ' . ($plan['template'] ?? '?') . '.';
        if (is_array($plan['templates'] ?? null) && $plan['templates'] !== []) {
            $templates = array_flip($plan['templates']);
        }
        $this->template(trim((string) $product->configoption2), $templates, 'The Template setting');
        return $templates;
    }

    /** @param array<string, mixed> $templates */
    private function template(string $name, array $templates, string $where): void
    {
        if ($name !== '' && $templates !== [] && !isset($templates[$name])) {
            $this->wrong[] = $where . ' is "' . $name . '", which this plan does not offer; there are: '
                . implode(', ', array_keys($templates)) . '.';
        }
    }

    /**
     * @param \stdClass[] $options
     * @param array<string, mixed> $templates
     */
    private function options(array $options, array $templates): void
    {
        $seen = [];
        foreach ($options as $option) {
            if (!Choices::isOurs($option->key)) {
                $this->misspelt($option);
                continue;
            }
            if (isset($seen[$option->key])) {
                $this->wrong[] = 'Two configurable options are named ' . $option->key . '|…: only one of them counts.';
            }
            $seen[$option->key] = true;
            $this->values($option, $templates);
        }
    }

    private function misspelt(\stdClass $option): void
    {
        $key = (string) preg_replace('/[^a-z+]/', '', strtolower($option->key));
        $adds = substr($key, -1) === '+' ? '+' : '';
        $bare = rtrim($key, '+');
        $meant = self::MEANT[$bare] ?? '';
        foreach (array_diff(Choices::KEYS, ['mem', 'disk']) as $ours) { // of so short names half the words are near
            if ($meant === '' && levenshtein($bare, str_replace('_', '', $ours)) <= self::NEAR) {
                $meant = $ours;
            }
        }
        foreach (['mem', 'disk'] as $ours) {
            if ($meant === '' && levenshtein($bare, $ours) <= 1) {
                $meant = $ours;
            }
        }
        if ($meant !== '') {
            $this->wrong[] = 'The configurable option "' . $option->name . '" is ignored; was ' . $meant
                . ($meant === 'template' ? '' : $adds) . '|' . $option->label . ' meant?';
        }
    }

    /** @param array<string, mixed> $templates */
    private function values(\stdClass $option, array $templates): void
    {
        if ($option->type === Choices::YES_NO) {
            $this->wrong[] = 'The configurable option ' . $option->key . ' is of the type Yes/No, which has no value: make'
                . ' it a dropdown with values such as 1024|1 GB.';
            return;
        }
        $values = $option->type === Choices::QUANTITY
            ? array_unique([(string) $option->least, (string) $option->most])
            : array_map([Choices::class, 'key'], array_values($option->values));
        foreach ($values as $value) {
            if ($value === '' || $value === '0') {
                continue; // not chosen, so the plan's
            }
            if ($option->key === 'template') {
                $this->template($value, $templates, 'A choice of the configurable option template');
            } else {
                $this->size($option->key, $value);
            }
        }
    }

    private function size(string $key, string $value): void
    {
        $adds = substr($key, -1) === '+';
        $name = rtrim($key, '+');
        try {
            $size = Spec::option($name, $adds ? '' : $value, $adds ? $value : '', $this->plan[$name] ?? ($adds ? null : ''));
        } catch (Problem $problem) {
            $this->wrong[] = $problem->getMessage();
            return;
        }
        $most = $this->plan['max'][$name] ?? null;
        if ($most !== null && self::number($size) > self::number($most)) {
            $this->wrong[] = 'The configurable option ' . $key . ' can come to ' . $size . ', and this plan has at most '
                . $most . '.';
        }
    }

    /** @param mixed $size */
    private static function number($size): int
    {
        return Spec::megabytes((string) $size) ?? (int) $size;
    }
}
