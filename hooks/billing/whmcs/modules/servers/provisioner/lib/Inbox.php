<?php

namespace WHMCS\Module\Server\Provisioner;

use WHMCS\Database\Capsule;

/**
 * Fetches what provisioner has to tell where it cannot reach WHMCS (deliver = "pull"), writes it and says that it
 * is written. Of one service in order: where one could not be written, the later ones wait for the next cron.
 */
final class Inbox
{
    private const MOST_ROUNDS = 20; // of at most 100 deliveries
    private const RESERVE_S = 3.0; // to say what was written
    private const KEEP_S = 7776000; // 90 days: long after provisioner has forgotten them

    /** @var Client */
    private $client;

    public function __construct(Client $client)
    {
        $this->client = $client;
    }

    /** Fetches until nothing waits any more, or the client's time is over. */
    public function fetch(): void
    {
        $server = $this->client->server();
        $said = 'fetch:' . hash('sha256', $server->address . '/' . $server->billing);
        try {
            $this->rounds();
            if (Store::fact($said) !== null) {
                Store::forget($said);
            }
            $this->prune();
        } catch (Unavailable $unavailable) {
            return; // the next cron asks again
        } catch (Problem $problem) {
            $isOld = $problem instanceof Refused && $problem->reason === 'unknown_type'; // a provisioner without pull
            if (!$isOld && Store::fact($said) !== $problem->getMessage()) {
                Store::remember($said, $problem->getMessage());
                Log::activity('deliveries could not be fetched. ' . $problem->getMessage());
            }
        }
    }

    /** @throws Problem */
    private function rounds(): void
    {
        $written = [];
        $stopped = [];
        for ($round = 0; $round < self::MOST_ROUNDS; $round++) {
            $answer = $this->client->query('deliveries.pull', $written === [] ? [] : ['ack' => $written]);
            $written = [];
            foreach (is_array($answer['items'] ?? null) ? $answer['items'] : [] as $item) {
                if ($this->client->left() < self::RESERVE_S) {
                    break;
                }
                $service = (string) ($item['data']['service_id'] ?? '');
                if (!isset($stopped[$service]) && $this->isWritten($item, $answer)) {
                    $written[] = $item['id'];
                } else {
                    $stopped[$service] = true;
                }
            }
            if ($written === []) {
                return;
            }
            if ($this->client->left() < self::RESERVE_S) {
                break;
            }
        }
        $this->client->query('deliveries.pull', ['ack' => $written]);
    }

    /**
     * Writes a delivery, unless that was done before and only the word of it was lost.
     *
     * @param mixed $item of deliveries.pull
     * @param array<string, mixed> $answer its settings
     */
    private function isWritten($item, array $answer): bool
    {
        $isOne = is_array($item) && is_string($item['id'] ?? null) && is_string($item['type'] ?? null);
        if (!$isOne || !is_array($item['data'] ?? null)) {
            Log::activity('provisioner sent something that is no delivery; its version and this module\'s do not fit.');
            return false;
        }
        $row = $this->known($item);
        if ((int) $row->written_at > 0) {
            return true;
        }
        try {
            (new Write($item, is_array($answer['settings'] ?? null) ? $answer['settings'] : []))->make();
            $this->note($item['id'], ['error' => '', 'written_at' => time()]);
            return true;
        } catch (Problem $problem) {
            $this->say($row, $item, $problem->getMessage());
        } catch (\Throwable $problem) {
            $this->say($row, $item, Entry::sentence($problem));
        }
        return false;
    }

    /** @param array<string, mixed> $item */
    private function known(array $item): \stdClass
    {
        return Store::with(static function () use ($item): \stdClass {
            $service = (int) ($item['data']['service_id'] ?? 0);
            Store::insert(Store::DELIVERIES, ['id' => $item['id'], 'service_id' => $service, 'error' => '', 'written_at' => 0]);
            return (object) (array) Capsule::table(Store::DELIVERIES)->where('id', $item['id'])->first();
        });
    }

    /**
     * Says once what is in the way of a delivery, not at every cron.
     *
     * @param array<string, mixed> $item
     */
    private function say(\stdClass $row, array $item, string $words): void
    {
        if ($row->error !== $words) {
            Log::activity('service ' . $row->service_id . ': ' . $item['type'] . ' could not be written; it is tried'
                . ' again. ' . $words);
            $this->note($item['id'], ['error' => $words]);
        }
    }

    /** @param array<string, mixed> $changed */
    private function note(string $id, array $changed): void
    {
        Store::with(static function () use ($id, $changed): void {
            Capsule::table(Store::DELIVERIES)->where('id', $id)->update($changed);
        });
    }

    private function prune(): void
    {
        Store::with(static function (): void {
            $before = time() - self::KEEP_S;
            Capsule::table(Store::DELIVERIES)->where('written_at', '>', 0)->where('written_at', '<', $before)->delete();
            Capsule::table(Store::MARKS)->where('made_at', '<', $before)->delete();
        });
    }
}
