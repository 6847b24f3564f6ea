<?php

namespace WHMCS\Module\Server\Provisioner;

/** Signs after the Standard Webhooks specification. */
final class Signature
{
    /** @var string the raw key */
    private $key;

    /**
     * @param string $secret `whsec_` and the key's base64
     * @throws Problem if it is no such secret
     */
    public function __construct(string $secret)
    {
        $key = strncmp($secret, 'whsec_', 6) === 0 ? base64_decode(substr($secret, 6), true) : false;
        if ($key === false || strlen($key) < 24) {
            throw new Problem(
                'The server record has no secret: put the whsec_… secret of this billing system from'
                . ' provisioner\'s config.toml into the server\'s password or access hash.'
            );
        }
        $this->key = $key;
    }

    /**
     * @param int $timestamp Unix seconds
     * @return array<string, string> the three headers
     */
    public function headers(string $id, int $timestamp, string $body): array
    {
        $signed = base64_encode(hash_hmac('sha256', $id . '.' . $timestamp . '.' . $body, $this->key, true));
        return [
            'webhook-id' => $id,
            'webhook-timestamp' => (string) $timestamp,
            'webhook-signature' => 'v1,' . $signed,
        ];
    }

    /** A random UUID (version 4): a restored WHMCS never makes one again that it has used. */
    public static function newId(): string
    {
        $bytes = random_bytes(16);
        $bytes[6] = chr((ord($bytes[6]) & 0x0f) | 0x40);
        $bytes[8] = chr((ord($bytes[8]) & 0x3f) | 0x80);
        return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex($bytes), 4));
    }
}
