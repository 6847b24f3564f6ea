#!/usr/bin/env php
<?php
/*
 * Sends one event: send.php WEBHOOK_ID < event.json
 *
 * Ends with 0 (accepted), 1 (refused: a person must look) or 2 (no clear answer: run it again later, same id).
 * Reads PROVISIONER_URL, and PROVISIONER_SECRET or the file that PROVISIONER_SECRET_FILE names.
 * PHP 7.4 or newer with its curl extension.
 */
declare(strict_types=1);

const ACCEPTED = 0;
const REFUSED = 1;
const UNCLEAR = 2;
const TRIES = 4;
const LEAST_KEY_BYTES = 24;
const TIMEOUT_S = 10;
const PASSING = [408, 425, 429]; // and every 5xx

function provisioner_key(string $secret): string
{
    $key = (string) base64_decode((string) substr($secret, strlen('whsec_')), true);
    if (strpos($secret, 'whsec_') !== 0 || strlen($key) < LEAST_KEY_BYTES) {
        throw new InvalidArgumentException('a secret is whsec_ and the base64 of at least 24 bytes');
    }
    return $key;
}

function provisioner_sign(string $secret, string $id, int $timestamp, string $body): string
{
    return 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", provisioner_key($secret), true));
}

/** Posts an event until there is a clear answer: the id stays, time and signature are new at each try. */
function provisioner_send(string $url, string $secret, string $id, string $body): int
{
    $wait = (float) (getenv('PROVISIONER_WAIT') ?: 1); // seconds; doubles from try to try
    for ($number = 0; $number < TRIES; $number++) {
        if ($number > 0) {
            usleep((int) ($wait * 2 ** ($number - 1) * 1e6));
        }
        [$status, $answer] = provisioner_post($url, $secret, $id, $body);
        $accepted = $status >= 200 && $status < 300;
        fwrite($accepted ? STDOUT : STDERR, "$answer\n");
        if ($accepted) {
            return ACCEPTED;
        }
        if ($status > 0 && $status < 500 && !in_array($status, PASSING, true)) {
            return REFUSED;
        }
    }
    return UNCLEAR;
}

/** One try: status and answer; the status is 0 where no answer came. Redirects are not followed. */
function provisioner_post(string $url, string $secret, string $id, string $body): array
{
    $timestamp = time();
    $call = curl_init($url);
    curl_setopt_array($call, [
        CURLOPT_POST => true,
        CURLOPT_POSTFIELDS => $body,
        CURLOPT_HTTPHEADER => [
            'Content-Type: application/json',
            "webhook-id: $id",
            "webhook-timestamp: $timestamp",
            'webhook-signature: ' . provisioner_sign($secret, $id, $timestamp, $body),
        ],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => TIMEOUT_S,
        CURLOPT_PROXY => '',
    ]);
    $answer = curl_exec($call);
    if ($answer === false) {
        return [0, 'no answer: ' . curl_error($call)];
    }
    $status = curl_getinfo($call, CURLINFO_RESPONSE_CODE);
    return [$status, "$status $answer"];
}

/** The newest secret: there may be older ones after it. */
function provisioner_secret(): string
{
    $file = getenv('PROVISIONER_SECRET_FILE');
    $secrets = $file ? file_get_contents($file) : getenv('PROVISIONER_SECRET');
    return preg_split('/\s+/', trim((string) $secrets))[0];
}

if ($argc !== 2) {
    fwrite(STDERR, "send.php WEBHOOK_ID < event.json\n");
    exit(REFUSED);
}
try {
    $url = (string) getenv('PROVISIONER_URL');
    exit(provisioner_send($url, provisioner_secret(), $argv[1], file_get_contents('php://stdin')));
} catch (Throwable $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit(REFUSED);
}
