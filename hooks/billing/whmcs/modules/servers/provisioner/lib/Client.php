<?php

namespace WHMCS\Module\Server\Provisioner;

/**
 * Talks to provisioner by HTTP. All calls of one client together get one budget of time, so that a page of WHMCS
 * waits once, however many questions it has; and after a connection that failed nothing is tried at that address
 * for a minute, by any process, so that a cron run over hundreds of services does not stall.
 */
final class Client
{
    public const ACTION_S = 5.0; // WHMCS waits inside the request of a customer
    private const CONNECT_MS = 2000;
    private const CALL_MS = 5000;
    private const LEAST_MS = 200; // with less left a call could not end well
    private const MOST_BYTES = 4194304;
    private const REST_S = 60;

    /** @var Server */
    private $server;

    /** @var float monotonic seconds */
    private $until;

    /** @var string[] */
    private $secrets;

    /** @var int how many seconds provisioner's clock is ahead, as its last answer said */
    public $skew = 0;

    /**
     * @param float $budgetS seconds for all calls together
     * @param string[] $secrets further values that no log may have
     */
    public function __construct(Server $server, float $budgetS = self::ACTION_S, array $secrets = [])
    {
        $this->server = $server;
        $this->until = self::monotonic() + $budgetS;
        $this->secrets = array_merge($server->secrets(), Log::forms($secrets));
    }

    public function server(): Server
    {
        return $this->server;
    }

    /**
     * Sends an event.
     *
     * @param string $body the JSON as it was stored; the signature is new each time
     * @return array<string, mixed> the 2xx answer
     * @throws Problem
     */
    public function event(string $id, string $body): array
    {
        return $this->post('/webhooks/', $id, $body);
    }

    /**
     * Asks.
     *
     * @param array<string, mixed> $data
     * @return array<string, mixed> the answer
     * @throws Problem
     */
    public function query(string $type, array $data = []): array
    {
        return $this->post('/queries/', Signature::newId(), self::message($type, $data));
    }

    /**
     * What provisioner says of a service.
     *
     * @return array<string, mixed>|null null where it knows none
     * @throws Problem
     */
    public function service(string $serviceId): ?array
    {
        try {
            return $this->query('service.show', ['service_id' => $serviceId]);
        } catch (Refused $refused) {
            if ($refused->reason === 'unknown_service') {
                return null;
            }
            throw $refused;
        }
    }

    /**
     * The JSON of an event or a query, with who sends it.
     *
     * @param array<string, mixed> $data
     * @throws Problem if it cannot be written as JSON
     */
    public static function message(string $type, array $data): string
    {
        $body = json_encode([
            'type' => $type,
            'timestamp' => gmdate('Y-m-d\TH:i:s\Z'),
            'data' => (object) $data,
            'source' => ['installation' => Store::installation(), 'actor' => Actor::now()],
        ], JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
        if ($body === false) {
            throw new Problem(
                'A text of this service is not UTF-8, so nothing was sent: correct its domain or suspension'
                . ' reason.'
            );
        }
        return $body;
    }

    /** Lets the next call try at once, whatever failed before: for an admin who asks whether it works now. */
    public function tryAgain(): void
    {
        Store::forget($this->breaker());
    }

    /** Seconds until which the budget lasts. */
    public function left(): float
    {
        return $this->until - self::monotonic();
    }

    /**
     * @return array<string, mixed>
     * @throws Problem
     */
    private function post(string $path, string $id, string $body): array
    {
        $signature = new Signature($this->server->secret);
        $this->refuseWhileResting();
        $headers = ['Content-Type: application/json', 'Accept: application/json', 'Expect:'];
        foreach ($signature->headers($id, time(), $body) as $name => $value) {
            $headers[] = $name . ': ' . $value;
        }
        $sent = json_decode($body, true);
        $what = (string) ($sent['type'] ?? '');
        try {
            $answer = $this->judge(...$this->exchange($path, $headers, $body));
        } catch (Problem $problem) {
            Log::call($what, ($sent['data'] ?? []) + ['type' => $what], ['error' => $problem->getMessage()], $this->secrets);
            throw $problem;
        }
        Log::call($what, ($sent['data'] ?? []) + ['type' => $what], $answer, $this->secrets);
        return $answer;
    }

    /**
     * @param string[] $headers
     * @return array{0: int, 1: string} status and body
     * @throws Unavailable
     */
    private function exchange(string $path, array $headers, string $body): array
    {
        $left = (int) min(self::CALL_MS, $this->left() * 1000);
        if ($left < self::LEAST_MS) {
            throw new Unavailable('The answers of ' . $this->server->address . ' took too long together.');
        }
        $received = '';
        $call = curl_init($this->server->address . $path . $this->server->billing);
        curl_setopt_array($call, [
            CURLOPT_POST => true,
            CURLOPT_POSTFIELDS => $body,
            CURLOPT_HTTPHEADER => $headers,
            CURLOPT_USERAGENT => 'provisioner-whmcs/' . Module::VERSION,
            CURLOPT_CONNECTTIMEOUT_MS => min(self::CONNECT_MS, $left),
            CURLOPT_TIMEOUT_MS => $left,
            CURLOPT_NOSIGNAL => true,
            CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
            CURLOPT_SSL_VERIFYPEER => true,
            CURLOPT_SSL_VERIFYHOST => 2,
            CURLOPT_HEADERFUNCTION => function ($call, string $line): int {
                $this->noteClock($line);
                return strlen($line);
            },
            CURLOPT_WRITEFUNCTION => static function ($call, string $part) use (&$received): int {
                $received .= $part;
                return strlen($received) <= self::MOST_BYTES ? strlen($part) : 0;
            },
        ]);
        if (curl_exec($call) === false) {
            if (curl_errno($call) !== CURLE_WRITE_ERROR) { // that one is ours: the answer was too long
                $this->rest();
            }
            throw new Unavailable($this->server->address . ' did not answer (' . curl_error($call) . ').');
        }
        return [(int) curl_getinfo($call, CURLINFO_RESPONSE_CODE), $received];
    }

    /**
     * @return array<string, mixed>
     * @throws Problem
     */
    private function judge(int $status, string $received): array
    {
        $answer = json_decode($received, true, 64);
        if ($status >= 400 && $status < 500) {
            throw $this->refusal($status, is_array($answer) ? $answer : []);
        }
        if (!is_array($answer)) {
            throw new Unavailable(
                $this->server->address . ' answered (status ' . $status . ') with a page that is not provisioner\'s:'
                . ' check host name, port and SSL of the server record, and what stands in front of provisioner.'
            );
        }
        if ($status < 200 || $status >= 300) {
            $words = (string) ($answer['error']['message'] ?? 'without a reason');
            throw new Unavailable('Provisioner cannot answer now (status ' . $status . '): ' . $words . '.');
        }
        return $answer;
    }

    /** @param array<string, mixed> $answer */
    private function refusal(int $status, array $answer): Refused
    {
        $error = is_array($answer['error'] ?? null) ? $answer['error'] : [];
        $reason = is_string($error['code'] ?? null) ? $error['code'] : '';
        $words = is_string($error['message'] ?? null) ? rtrim($error['message'], '.') : 'without a reason';
        return new Refused($status, $reason, Words::ofRefusal($status, $reason, $words, $this->server, $this->skew));
    }

    private function noteClock(string $header): void
    {
        if (strncasecmp($header, 'Date:', 5) === 0) {
            $at = strtotime(trim(substr($header, 5)));
            $this->skew = $at === false ? 0 : $at - time();
        }
    }

    /** @throws Unavailable */
    private function refuseWhileResting(): void
    {
        $until = (int) Store::fact($this->breaker());
        if ($until > time() && $until <= time() + self::REST_S) {
            throw new Unavailable(
                $this->server->address . ' did not answer a moment ago; it is tried again in '
                . ($until - time()) . ' seconds.'
            );
        }
    }

    private function rest(): void
    {
        Store::remember($this->breaker(), (string) (time() + self::REST_S));
    }

    private function breaker(): string
    {
        return 'rests:' . hash('sha256', $this->server->address);
    }

    private static function monotonic(): float
    {
        return hrtime(true) / 1e9;
    }
}
