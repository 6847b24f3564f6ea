<?php

namespace WHMCS\Module\Server\Provisioner;

/** The plans and templates that provisioner offers to us, as last seen where it cannot be asked. */
final class Catalogue
{
    private const FRESH_S = 60;

    /** @var Client */
    private $client;

    public function __construct(Client $client)
    {
        $this->client = $client;
    }

    /**
     * @return array<string, array<string, mixed>> by name
     * @throws Problem if they were never seen and cannot be asked for
     */
    public function plans(): array
    {
        return $this->items('plans.list');
    }

    /**
     * @return array<string, array<string, mixed>> by name
     * @throws Problem if they were never seen and cannot be asked for
     */
    public function templates(): array
    {
        return $this->items('templates.list');
    }

    /**
     * A plan.
     *
     * @return array<string, mixed>
     * @throws Problem if there is none of this name
     */
    public function plan(string $name): array
    {
        $plans = $this->plans();
        if ($name === '') {
            throw new Problem('This product has no plan: choose one under Module Settings.');
        }
        if (!isset($plans[$name])) {
            throw new Problem('Provisioner has no plan "' . $name . '" for this WHMCS; there are: '
                . (implode(', ', array_keys($plans)) ?: 'none') . '. Choose one under the product\'s Module Settings.');
        }
        return $plans[$name];
    }

    /** @return array<string, array<string, mixed>> */
    private function items(string $list): array
    {
        $server = $this->client->server();
        $name = $list . ':' . hash('sha256', $server->address . '/' . $server->billing);
        $seen = json_decode((string) Store::fact($name), true);
        if (is_array($seen) && abs(time() - (int) $seen['at']) <= self::FRESH_S) {
            return $seen['items'];
        }
        try {
            $items = self::byName($this->client->query($list));
        } catch (Unavailable $unavailable) {
            if (is_array($seen)) {
                return $seen['items'];
            }
            throw $unavailable;
        }
        if ($items !== []) { // an empty list is none yet: provisioner has not seen the upstream's templates so far
            Store::remember($name, (string) json_encode(['at' => time(), 'items' => $items]));
        }
        return $items;
    }

    /**
     * @param array<string, mixed> $answer
     * @return array<string, array<string, mixed>>
     */
    private static function byName(array $answer): array
    {
        $items = [];
        foreach (is_array($answer['items'] ?? null) ? $answer['items'] : [] as $item) {
            if (isset($item['name']) && is_string($item['name'])) {
                $items[$item['name']] = $item;
            }
        }
        return $items;
    }
}
