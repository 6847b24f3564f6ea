<?php

namespace WHMCS\Module\Server\Provisioner;

use WHMCS\Database\Capsule;

/**
 * Writes one delivery: reads the service, writes, reads back, then the mail, then what staff are told, then the
 * line in the activity log. All but the mail, the ticket and the notification is harmless to repeat.
 */
final class Write
{
    private const BEGUN = 'begun';
    private const DONE = 'done';
    private const LONGEST_LINE = 1000;
    private const SHOWN_AS = [ // UpdateClientProduct's name → GetClientsProducts'
        'serviceusername' => 'username', 'servicepassword' => 'password', 'suspendreason' => 'suspensionreason',
    ];

    /** @var string */
    private $id;

    /** @var bool */
    private $isLatest;

    /** @var Row */
    private $row;

    /** @var array<string, mixed> */
    private $settings;

    /** @var string[] what the activity log is to say */
    private $said = [];

    /** @var array<string, mixed> the service as WHMCS shows it */
    private $shown = [];

    /**
     * @param array<string, mixed> $item of deliveries.pull
     * @param array<string, mixed> $settings welcome_email, on_failure, ticket_department
     */
    public function __construct(array $item, array $settings)
    {
        $this->id = $item['id'];
        $this->isLatest = ($item['latest'] ?? false) === true;
        $this->row = new Row($item['type'], $item['data']);
        $this->settings = $settings + ['welcome_email' => '', 'on_failure' => 'nothing', 'ticket_department' => 0];
    }

    /** @throws Problem if WHMCS refused it; it is then to be tried again */
    public function make(): void
    {
        $this->said = [$this->row->said()];
        $this->shown = $this->look();
        $status = $this->write();
        if ($this->row->mails() && (string) $this->settings['welcome_email'] !== '') {
            $this->mail($status);
        }
        if ($this->row->alarm() !== '') {
            $this->alarm($this->row->alarm(), $this->row->text('kind') . ' ' . $this->row->alarm(), $this->said[0]);
        }
        $line = $this->row->about() . ': ' . implode('; ', $this->said);
        $this->call('LogActivity', ['description' => Log::cut($line, self::LONGEST_LINE)] + $this->client());
    }

    /**
     * @return array<string, mixed>
     * @throws NotWritten if WHMCS has no such service
     */
    private function look(): array
    {
        $id = $this->row->text('service_id');
        $answer = $this->call('GetClientsProducts', ['serviceid' => $id]);
        foreach (self::listed($answer['products'] ?? '', 'product') as $product) {
            if ((string) ($product['id'] ?? '') === $id) { // WHMCS reads "12x" as 12, and '' as all services
                return $product;
            }
        }
        throw new NotWritten('Service ' . $id . ' is not in WHMCS, or not any more: if its VM is to go, terminate the service in provisioner.');
    }

    /**
     * @return string the status that WHMCS then shows
     * @throws NotWritten
     */
    private function write(): string
    {
        $written = $this->row->written();
        $emptied = $this->row->emptied();
        $shown = (string) ($this->shown['status'] ?? '');
        $status = $this->row->status($shown, $this->isLatest);
        if ($status !== '') {
            $written['status'] = $status;
        }
        if ($this->row->endsIps()) {
            $this->sayIps();
        }
        if ($written !== [] || $emptied !== []) {
            $params = ['serviceid' => $this->row->text('service_id')] + $written;
            $this->call('UpdateClientProduct', $emptied === [] ? $params : $params + ['unset' => $emptied]);
            $this->readBack($written + array_fill_keys($emptied, ''));
        }
        return $status === '' ? $shown : $status;
    }

    /**
     * @param array<string, string> $expected
     * @throws NotWritten
     */
    private function readBack(array $expected): void
    {
        $shown = $this->look();
        $amiss = [];
        foreach ($expected as $name => $value) {
            if (!self::shows($shown[self::SHOWN_AS[$name] ?? $name] ?? '', $name, (string) $value)) {
                $amiss[] = $name;
            }
        }
        if ($amiss !== []) {
            throw new NotWritten('WHMCS said success, but does not show ' . implode(', ', $amiss)
                . ' as written: does a hook or another module change them?');
        }
    }

    /** Names the IPs that are taken away; a second try would not find them any more. */
    private function sayIps(): void
    {
        $entered = ($this->shown['dedicatedip'] ?? '') . ' ' . ($this->shown['assignedips'] ?? '');
        $shown = preg_split('/\s+/', $entered, -1, PREG_SPLIT_NO_EMPTY);
        if ($shown !== false && $shown !== []) {
            $this->mark('ips ' . $this->id, implode(', ', $shown));
        }
        $ips = $this->marked('ips ' . $this->id);
        $this->said[] = $ips === '' ? 'no IPs were entered' : 'its IPs were ' . $ips;
    }

    /** @throws Problem */
    private function mail(string $status): void
    {
        if (in_array($status, Row::OVER, true)) {
            $this->said[] = 'no welcome mail, for WHMCS shows it as ' . $status;
            return;
        }
        $params = ['messagename' => (string) $this->settings['welcome_email'], 'id' => $this->row->text('service_id')];
        if ($this->once('mail ' . $this->id, fn () => $this->call('SendEmail', $params))) {
            $this->said[] = 'the welcome mail was sent';
            return;
        }
        $words = 'the credentials are in WHMCS, but the welcome mail may not have gone out: look into the client\'s mail'
            . ' log; to send it again: the service\'s page → Resend Welcome Email';
        $this->said[] = $words;
        $this->alarm('mail', 'the welcome mail may be missing', $words);
    }

    /**
     * Tells staff as the settings wish, once for each delivery.
     *
     * @throws Problem
     */
    private function alarm(string $name, string $title, string $words): void
    {
        $way = (string) $this->settings['on_failure'];
        if ($way !== 'notify' && $way !== 'ticket') {
            return;
        }
        $title = 'Service ' . $this->row->text('service_id') . ': ' . $title;
        $message = $this->row->about() . ': ' . $words;
        $isTold = $this->once('told ' . $name . ' ' . $this->id, function () use ($way, $name, $title, $message): void {
            $way === 'ticket' ? $this->ticket($title, $message) : $this->call('TriggerNotificationEvent', [
                'notification_identifier' => 'provisioner.' . $name,
                'title' => $title,
                'message' => $message,
            ]);
        });
        if (!$isTold) {
            $this->said[] = 'what tells staff of this (on_failure) may not have gone out, and is not repeated';
        }
    }

    /**
     * One ticket for each operation; what comes later of the same one is a note on it.
     *
     * @throws Problem
     */
    private function ticket(string $title, string $message): void
    {
        $name = 'ticket ' . $this->row->text('operation');
        $ticket = $this->marked($name);
        if ($ticket !== '' && $this->noted($ticket, $message)) {
            return;
        }
        $opened = $this->call('OpenTicket', [
            'deptid' => (string) $this->settings['ticket_department'],
            'subject' => $title,
            'message' => $message,
            'serviceid' => $this->row->text('service_id'),
        ] + $this->client());
        $this->mark($name, (string) ($opened['id'] ?? ''));
    }

    /** Whether the note is on the ticket, which may have been deleted. */
    private function noted(string $ticket, string $message): bool
    {
        try {
            $this->call('AddTicketNote', ['ticketid' => $ticket, 'message' => $message]);
            return true;
        } catch (NotWritten $refused) {
            if (stripos($refused->getMessage(), 'not found') === false) {
                throw $refused;
            }
            return false;
        }
    }

    /**
     * Sends what must not go out twice; false where it may have been sent and nobody can tell. The mark is made
     * before, so that a process that dies in between leaves it behind; only a clear no takes it back.
     *
     * @param callable(): mixed $send
     * @throws NotWritten if WHMCS said no
     */
    private function once(string $name, callable $send): bool
    {
        if (!$this->begin($name)) {
            return $this->marked($name) === self::DONE;
        }
        try {
            $send();
        } catch (NotWritten $refused) {
            $this->mark($name, '');
            throw $refused;
        } catch (\Throwable $problem) {
            return false;
        }
        $this->mark($name, self::DONE);
        return true;
    }

    /** Whether the mark is ours: of two processes only one gets it. */
    private function begin(string $name): bool
    {
        return Store::with(static function () use ($name): bool {
            return Store::insert(Store::MARKS, ['name' => $name, 'value' => self::BEGUN, 'made_at' => time()])
                || Capsule::table(Store::MARKS)->where('name', $name)->where('value', '')->update(['value' => self::BEGUN]) > 0;
        });
    }

    private function mark(string $name, string $value): void
    {
        Store::with(static function () use ($name, $value): void {
            if (!Store::insert(Store::MARKS, ['name' => $name, 'value' => $value, 'made_at' => time()])) {
                Capsule::table(Store::MARKS)->where('name', $name)->update(['value' => $value]);
            }
        });
    }

    private function marked(string $name): string
    {
        return (string) Store::with(static fn () => Capsule::table(Store::MARKS)->where('name', $name)->value('value'));
    }

    /**
     * @param array<string, mixed> $params
     * @return array<string, mixed>
     * @throws NotWritten if WHMCS said no
     */
    private function call(string $action, array $params): array
    {
        $answer = localAPI($action, $params);
        if (!is_array($answer) || ($answer['result'] ?? '') !== 'success') {
            $words = is_array($answer) && is_string($answer['message'] ?? null) ? $answer['message'] : 'without a reason';
            throw new NotWritten('WHMCS refused ' . $action . ': ' . rtrim($words, '.') . '.' . self::remedy($action, $words));
        }
        return $answer;
    }

    private static function remedy(string $action, string $words): string
    {
        if ($action === 'SendEmail' && stripos($words, 'template') !== false) {
            return ' welcome_email in provisioner\'s config.toml must name an enabled template of the type Product/Service, or be "".';
        }
        if ($action === 'OpenTicket' && stripos($words, 'department') !== false) {
            return ' ticket_department in provisioner\'s config.toml must be the number of a support department.';
        }
        return '';
    }

    /** @return array<string, string> */
    private function client(): array
    {
        $client = (string) ($this->shown['clientid'] ?? '');
        return $client === '' ? [] : ['clientid' => $client];
    }

    /**
     * The items of a list as WHMCS may spell it: under a name or not, one alone, '' or absent.
     *
     * @param mixed $found
     * @return array<int, array<string, mixed>>
     */
    private static function listed($found, string $name): array
    {
        $inner = is_array($found) ? $found[$name] ?? $found : [];
        if (!is_array($inner)) {
            return [];
        }
        $isOne = $inner !== [] && array_filter($inner, 'is_array') !== $inner;
        return array_values(array_filter($isOne ? [$inner] : $inner, 'is_array'));
    }

    /**
     * Whether WHMCS shows a field as written, perhaps in HTML's spelling; a masked password passes.
     *
     * @param mixed $found
     */
    private static function shows($found, string $name, string $expected): bool
    {
        $found = is_scalar($found) ? (string) $found : '';
        if ($name === 'servicepassword' && preg_match('/^[x*]+$/D', $found) === 1) {
            return true;
        }
        if ($name === 'assignedips') {
            return preg_split('/\s+/', trim($found)) === preg_split('/\s+/', trim($expected));
        }
        return $expected === $found || $expected === html_entity_decode($found, ENT_QUOTES);
    }
}
