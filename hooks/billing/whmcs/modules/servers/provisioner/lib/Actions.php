<?php

namespace WHMCS\Module\Server\Provisioner;

/** What WHMCS asks of a service: each is one event, those of a fraudulent or cancelled order are two. */
final class Actions
{
    private const NO_NEED = ''; // there is a VM, or one is being made
    private const NEW_VM = 'new';
    private const OLD_VM = 'old'; // within the grace of its termination an order brings the VM back
    private const ANY_VM = 'any'; // provisioner cannot be asked now, and will know

    private const MOST_REASON = 1000; // characters, as the contract takes them

    /** @var array<string, mixed> */
    private $params;

    /** @var Service */
    private $service;

    /** @var Client */
    private $client;

    /**
     * @param array<string, mixed> $params of a module function
     * @throws Problem if the server is not set up
     */
    public function __construct(array $params)
    {
        $this->params = $params;
        $this->service = Service::ofParams($params);
        $this->client = new Client(Server::ofParams($params), Client::ACTION_S, [(string) ($params['password'] ?? '')]);
    }

    /**
     * Orders the VM, unless there is one or one is being made; a second call is the same order.
     *
     * @throws Problem
     */
    public function create(): void
    {
        $this->service->refuseWhatHasNoVm();
        $need = $this->needOfOrder();
        if ($need !== self::NO_NEED) {
            $vmid = $this->service->status === 'Terminated' ? 0 : $this->vmid();
            $vmid > 0 ? $this->sendLink($vmid) : $this->order($need);
        }
    }

    /** @throws Problem */
    public function link(): void
    {
        $this->service->refuseWhatHasNoVm();
        $vmid = $this->vmid();
        if ($vmid === 0) {
            throw new Problem(
                'Nothing to link: add a custom field named vmid (for admins only) to the product, enter the'
                . ' VM\'s number in it on this page, save, then press the button again.'
            );
        }
        $this->sendLink($vmid);
    }

    /** @throws Problem */
    public function suspend(): void
    {
        $given = (string) ($this->params['suspendreason'] ?? '');
        $reason = trim(html_entity_decode($given, ENT_QUOTES));
        $this->send('service.suspend', $reason === '' ? [] : ['reason' => Log::cut($reason, self::MOST_REASON)]);
    }

    /** @throws Problem */
    public function unsuspend(): void
    {
        $this->send('service.unsuspend');
    }

    /**
     * Ends the service. What fraud or a cancelled order ends is first locked, so that no payment brings it back.
     *
     * @throws Problem
     */
    public function terminate(): void
    {
        $why = Hooks::endedOrder($this->service->id);
        if ($why !== '') {
            $this->send('service.suspend', ['reason' => $why, 'lock' => true]);
        }
        $this->send('service.terminate');
    }

    /**
     * Asks for the product's plan and the whole set of options, whichever of them was changed.
     *
     * @throws Problem
     */
    public function change(): void
    {
        $this->service->refuseWhatHasNoVm();
        $spec = $this->spec();
        $this->send('service.upgrade', ['plan' => $spec->plan] + self::given(['options' => $spec->options]));
    }

    /**
     * An action with no fields of its own.
     *
     * @param string $type such as service.reboot
     * @throws Problem
     */
    public function simple(string $type): void
    {
        $this->send($type);
    }

    /**
     * What this service is to be.
     *
     * @throws Problem
     */
    public function spec(): Spec
    {
        return self::specOf($this->params, $this->service, $this->client);
    }

    /**
     * @param array<string, mixed> $params
     * @throws Problem
     */
    public static function specOf(array $params, Service $service, Client $client): Spec
    {
        $plan = trim((string) ($params['configoption1'] ?? ''));
        $given = is_array($params['configoptions'] ?? null) ? $params['configoptions'] : [];
        $choices = Choices::of($given, $given === [] ? [] : Choices::ofProduct($service->productId));
        return Spec::of($plan, trim((string) ($params['configoption2'] ?? '')), $choices, static function () use ($client, $plan) {
            return (new Catalogue($client))->plan($plan);
        });
    }

    /**
     * Whether an order has to be sent. What is spooled is not known there yet, so the order queues behind it.
     *
     * @return string NO_NEED, NEW_VM, OLD_VM or ANY_VM
     * @throws Problem
     */
    private function needOfOrder(): string
    {
        if (Outbox::waiting($this->service->id) !== []) {
            return self::ANY_VM;
        }
        try {
            $known = $this->client->service((string) $this->service->id);
        } catch (Unavailable $unavailable) {
            return self::ANY_VM;
        }
        return $known === null ? self::NEW_VM : $this->needOf($known);
    }

    /**
     * @param array<string, mixed> $known service.show's answer
     * @throws Problem
     */
    private function needOf(array $known): string
    {
        $status = (string) ($known['status'] ?? '');
        $operation = is_array($known['operation'] ?? null) ? $known['operation'] : [];
        $ended = in_array($operation['state'] ?? '', ['', 'succeeded', 'failed', 'cancelled'], true);
        if ($status === 'terminated' && $this->service->status !== 'Terminated') {
            throw new Problem('This service was terminated in provisioner and its server is gone. To order a new one, set'
                . ' the status of this service to Terminated, save, then use Create.');
        }
        if ($status === 'terminated' || ($status === 'failed' && $ended)) {
            return self::NEW_VM;
        }
        $ends = $status === 'terminating' || (!$ended && ($operation['kind'] ?? '') === 'terminate');
        return $ends ? self::OLD_VM : self::NO_NEED;
    }

    private function vmid(): int
    {
        return $this->service->vmid($this->params, trim((string) ($this->params['configoption3'] ?? '')));
    }

    private function order(string $need): void
    {
        $spec = $this->spec();
        if ($need === self::NEW_VM || ($need === self::ANY_VM && !$this->mayHaveCredentials())) {
            $generated = Hooks::digest((string) ($this->params['password'] ?? ''));
            Store::rememberService($this->service->id, $this->client->server()->id, $generated);
        }
        $this->send('order.paid', ['plan' => $spec->plan] + self::given([
            'template' => $spec->template,
            'hostname' => $this->service->hostname(),
            'options' => $spec->options,
            'client' => $this->service->clientId > 0 ? ['id' => (string) $this->service->clientId] : [],
            'recreate' => $this->service->status === 'Terminated',
        ]));
    }

    /** Whether what WHMCS has may be the credentials of a VM that this order brings back. */
    private function mayHaveCredentials(): bool
    {
        return $this->service->ips !== [] && Store::service($this->service->id) !== null;
    }

    private function sendLink(int $vmid): void
    {
        $spec = $this->spec();
        // With its IPs, another module has also left the VM's password here; without, WHMCS has just made one up.
        $generated = $this->service->ips === [] ? Hooks::digest((string) ($this->params['password'] ?? '')) : '';
        Store::rememberService($this->service->id, $this->client->server()->id, $generated);
        $this->send('service.link', ['vmid' => $vmid, 'plan' => $spec->plan] + self::given([
            'options' => $spec->options,
            'ips' => $this->service->ips,
            'hostname' => $this->service->hostname(),
            'status' => $this->service->status === 'Suspended' ? 'suspended' : 'active',
        ]));
    }

    /**
     * @param array<string, mixed> $data beyond the service
     * @throws Problem
     */
    private function send(string $type, array $data = []): void
    {
        Store::rememberService($this->service->id, $this->client->server()->id);
        Outbox::send($this->client, $type, ['service_id' => (string) $this->service->id] + $data);
    }

    /**
     * The fields that there are.
     *
     * @param array<string, mixed> $fields
     * @return array<string, mixed>
     */
    private static function given(array $fields): array
    {
        return array_filter($fields, static fn ($value) => $value !== '' && $value !== [] && $value !== false);
    }
}
