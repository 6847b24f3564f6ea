<?php
/*
 * Takes deliveries, wherever PHP runs; to try it: php -S 127.0.0.1:8090 receive.php
 *
 * Keeps each delivery once, as a file in PROVISIONER_INBOX (never below the web server's root). In your billing
 * system provisioner_keep is one transaction that inserts the webhook-id (unique) and updates the service; nothing
 * else here needs to change.
 * Reads PROVISIONER_SECRET, or the file that PROVISIONER_SECRET_FILE names: one or more, newest first.
 * PHP 7.4 or newer.
 */
declare(strict_types=1);

const TOLERANCE_S = 300;
const LEAST_KEY_BYTES = 24; // a short or empty one would let anybody sign
const MOST_BYTES = 1 << 20;

function provisioner_key(string $secret): string
{
    $key = (string) base64_decode((string) substr($secret, strlen('whsec_')), true);
    if (strpos($secret, 'whsec_') !== 0 || strlen($key) < LEAST_KEY_BYTES) {
        throw new InvalidArgumentException('a secret is whsec_ and the base64 of at least 24 bytes');
    }
    return $key;
}

/** Whether one signature fits, over the raw bytes and in constant time, and the message is fresh. */
function provisioner_is_authentic(array $secrets, string $id, string $timestamp, string $signatures, string $body): bool
{
    if ($id === '' || preg_match('/^[0-9]{1,12}$/D', $timestamp) !== 1) {
        return false;
    }
    if (abs(time() - (int) $timestamp) > TOLERANCE_S) {
        return false;
    }
    $fits = false;
    foreach ($secrets as $secret) {
        $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", provisioner_key($secret), true));
        foreach (explode(' ', $signatures) as $given) {
            $fits = hash_equals($expected, $given) || $fits;
        }
    }
    return $fits;
}

/**
 * Keeps a delivery under its id; false where it was kept before.
 *
 * The file may hold a password: only its owner may read it. Empty it once its content is where it belongs, and leave
 * it there, so that the same id is known again.
 */
function provisioner_keep(string $inbox, string $id, string $body): bool
{
    $place = $inbox . '/' . hash('sha256', $id) . '.json';
    $beside = "$place." . bin2hex(random_bytes(8));
    umask(0077);
    if (file_put_contents($beside, $body) !== strlen($body)) {
        throw new RuntimeException("$inbox cannot be written");
    }
    $isNew = @link($beside, $place); // unlike a rename, never over an existing one
    unlink($beside);
    if (!$isNew && !file_exists($place)) {
        throw new RuntimeException("$inbox cannot be written");
    }
    return $isNew;
}

/** The status for this request. Any 2xx means: it is kept, do not send it again. */
function provisioner_receive(): int
{
    if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
        return 405;
    }
    $body = (string) file_get_contents('php://input', false, null, 0, MOST_BYTES + 1);
    if (strlen($body) > MOST_BYTES) {
        return 413;
    }
    [$id, $timestamp, $signatures] = array_map(
        fn (string $name): string => $_SERVER["HTTP_WEBHOOK_$name"] ?? '',
        ['ID', 'TIMESTAMP', 'SIGNATURE']
    );
    if (!provisioner_is_authentic(provisioner_secrets(), $id, $timestamp, $signatures, $body)) {
        return 401;
    }
    if (!is_array(json_decode($body, true))) {
        return 400;
    }
    provisioner_keep((string) getenv('PROVISIONER_INBOX'), $id, $body);
    return 204;
}

function provisioner_secrets(): array
{
    $file = getenv('PROVISIONER_SECRET_FILE');
    $secrets = $file ? file_get_contents($file) : getenv('PROVISIONER_SECRET');
    return preg_split('/\s+/', trim((string) $secrets));
}

try {
    http_response_code(provisioner_receive());
} catch (Throwable $error) {
    error_log(get_class($error) . ': ' . $error->getMessage());
    http_response_code(500); // it comes again
}
