<?php

namespace WHMCS\Module\Server\Provisioner;

/** What WHMCS keeps encrypted. */
final class Secrets
{
    /** The plain text of what WHMCS encrypted; '' where it cannot be had. */
    public static function decrypt(string $kept): string
    {
        if ($kept === '') {
            return '';
        }
        try {
            if (function_exists('decrypt')) {
                return (string) decrypt($kept);
            }
            $answer = localAPI('DecryptPassword', ['password2' => $kept]);
            return ($answer['result'] ?? '') === 'success' ? (string) ($answer['password'] ?? '') : '';
        } catch (\Throwable $problem) {
            return '';
        }
    }
}
