<?php

namespace WHMCS\Module\Server\Provisioner;

/**
 * What a delivery writes into its service: the table of provisioner's docs/whmcs.md. provisioner writes the same
 * where it pushes; tests/whmcs_writes.json there holds both to the same calls.
 */
final class Row
{
    public const OVER = ['Terminated', 'Cancelled', 'Fraud']; // whom WHMCS shows so is told of no server
    private const STATUSES = [ // provisioner's → WHMCS's; terminating is none there
        'pending' => 'Pending', 'failed' => 'Pending', 'active' => 'Active', 'suspended' => 'Suspended',
        'terminated' => 'Terminated',
    ];
    private const WARNINGS = [
        'fewer_ips_ignored' => 'fewer IPs were asked for, and it keeps those that it has',
        'new_ips_unknown' => 'its new IPs are not known: enter them by hand',
        'disk_kept' => 'a smaller disk was asked for, and it keeps the one that it has',
        'template_ignored' => 'a template was asked for, and an upgrade installs none',
    ];
    private const IPS = ['dedicatedip', 'assignedips'];

    /** type => fields written where known, fields emptied, whether a mail goes out, the name of an alarm */
    private const ROWS = [
        'service.provisioned' => [['serviceusername', 'servicepassword', 'dedicatedip', 'assignedips', 'domain'], [], true, ''],
        'service.upgraded' => [self::IPS, [], false, ''],
        'service.suspended' => [['suspendreason'], [], false, ''],
        'service.unsuspended' => [[], ['suspendreason'], false, ''],
        'service.terminated' => [[], ['serviceusername', 'servicepassword', 'dedicatedip', 'assignedips', 'suspendreason'], false, ''],
        'service.credentials' => [['serviceusername', 'servicepassword', 'dedicatedip', 'assignedips'], [], true, ''],
        'operation.failed' => [[], [], false, 'failed'],
        'operation.held' => [[], [], false, 'held'],
    ];
    private const STATUS_OF = [
        'service.suspended' => 'Suspended', 'service.unsuspended' => 'Active', 'service.terminated' => 'Terminated',
    ];

    /** @var string */
    private $type;

    /** @var array<string, mixed> */
    private $data;

    /**
     * @param array<string, mixed> $data the delivery's
     */
    public function __construct(string $type, array $data)
    {
        $this->type = $type;
        $this->data = $data;
    }

    /** @return array<string, string> what is written, by UpdateClientProduct's names */
    public function written(): array
    {
        return array_filter(array_intersect_key($this->known(), array_flip($this->row()[0])), 'strlen');
    }

    /** @return string[] what is emptied: what it takes away, and what is known to be none */
    public function emptied(): array
    {
        $known = array_intersect_key($this->known(), array_flip($this->row()[0]));
        return array_merge(array_keys($known, '', true), $this->row()[1]);
    }

    /**
     * The status that WHMCS is to show instead of what it shows; '' where it keeps that. Cancelled, Fraud and
     * Completed are a person's word and stay.
     */
    public function status(string $shown, bool $isLatest): string
    {
        $asked = self::STATUS_OF[$this->type] ?? ($this->tellsStatus() ? self::STATUSES[$this->text('status')] ?? '' : '');
        return $asked !== '' && $isLatest && $asked !== $shown && in_array($shown, self::STATUSES, true) ? $asked : '';
    }

    /** Whether the welcome mail goes out. */
    public function mails(): bool
    {
        return $this->row()[2] && $this->text('password') !== '';
    }

    /** Under which name staff are told of it; '' for not at all. */
    public function alarm(): string
    {
        return $this->isTakenBack() ? '' : $this->row()[3];
    }

    /** Whether it empties the IPs, which the activity log is then to name. */
    public function endsIps(): bool
    {
        return in_array('dedicatedip', $this->row()[1], true);
    }

    /** It in words for staff. */
    public function said(): string
    {
        switch ($this->type) {
            case 'service.provisioned':
                return $this->withWarnings('VM ' . $this->text('vmid') . ' is there, with ' . $this->addresses());
            case 'service.upgraded':
                return $this->withWarnings('changed to ' . $this->size() . ', with ' . $this->addresses());
            case 'service.suspended':
                return 'suspended' . ($this->text('reason') === '' ? '' : ': ' . $this->text('reason'));
            case 'service.unsuspended':
                return 'no longer suspended';
            case 'service.terminated':
                return 'terminated';
            case 'service.credentials':
                return 'a new root password was set, with ' . $this->addresses();
            case 'service.backups':
                return 'a backup was made; backups: ' . count($this->list('backups'));
            case 'service.restored':
                return 'restored from the backup of ' . gmdate('Y-m-d H:i', (int) $this->text('backup')) . ' UTC';
            case 'service.action':
                return $this->text('action') . ' done';
            case 'operation.failed':
                return $this->text('kind') . ($this->isTakenBack()
                    ? ' was cancelled (' . $this->error() . ')'
                    : ' failed (' . $this->error() . '); mend the cause and retry the operation in provisioner');
            case 'operation.held':
                return $this->text('kind') . ' waits for a person (' . $this->error() . '); approve or cancel it in provisioner';
        }
        return $this->type;
    }

    /** Of which service and operation it speaks. */
    public function about(): string
    {
        $operation = $this->text('operation');
        return 'provisioner, service ' . $this->text('service_id') . ($operation === '' ? '' : ', operation ' . $operation);
    }

    /** A field of the delivery as text, '' where it has none. */
    public function text(string $name): string
    {
        return isset($this->data[$name]) && is_scalar($this->data[$name]) ? (string) $this->data[$name] : '';
    }

    /** @return array{0: string[], 1: string[], 2: bool, 3: string} */
    private function row(): array
    {
        return self::ROWS[$this->type] ?? [[], [], false, ''];
    }

    private function tellsStatus(): bool
    {
        if ($this->type === 'operation.failed') {
            return $this->code() === 'cancelled' || ($this->code() !== 'superseded' && $this->text('kind') === 'create');
        }
        return in_array($this->type, ['service.provisioned', 'service.upgraded'], true);
    }

    private function isTakenBack(): bool
    {
        return $this->type === 'operation.failed' && in_array($this->code(), ['cancelled', 'superseded'], true);
    }

    /** @return array<string, string> '' where it is known that there is none, missing where nothing is known */
    private function known(): array
    {
        $known = [];
        if ($this->text('password') !== '') {
            $known = ['serviceusername' => $this->text('username'), 'servicepassword' => $this->text('password')];
        }
        $ips = $this->list('ips');
        if ($ips !== []) {
            $known += ['dedicatedip' => $ips[0], 'assignedips' => implode("\n", array_slice($ips, 1))];
        }
        foreach (['hostname' => 'domain', 'reason' => 'suspendreason'] as $ours => $theirs) {
            if ($this->text($ours) !== '') {
                $known[$theirs] = $this->text($ours);
            }
        }
        return $known;
    }

    private function code(): string
    {
        return (string) ($this->data['error']['code'] ?? '');
    }

    private function error(): string
    {
        return $this->code() . ': ' . ($this->data['error']['message'] ?? '');
    }

    private function size(): string
    {
        $config = is_array($this->data['config'] ?? null) ? $this->data['config'] : [];
        return ($config['cpu_cores'] ?? '?') . ' cores, ' . ($config['mem'] ?? '?') . ' MB, disk ' . ($config['disk'] ?? '?')
            . ', IPs: ' . ($config['ip_count'] ?? '?');
    }

    private function addresses(): string
    {
        return implode(', ', $this->list('ips')) ?: 'IPs that are not known';
    }

    private function withWarnings(string $words): string
    {
        foreach ($this->list('warnings') as $warning) {
            $words .= '; ' . (self::WARNINGS[$warning] ?? $warning);
        }
        return $words;
    }

    /** @return string[] */
    private function list(string $name): array
    {
        $list = $this->data[$name] ?? [];
        return array_values(array_map('strval', array_filter(is_array($list) ? $list : [], 'is_scalar')));
    }
}
