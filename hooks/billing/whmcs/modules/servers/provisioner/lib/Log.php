<?php

namespace WHMCS\Module\Server\Provisioner;

/** Where staff read what happened: the module log, the activity log, and a notification. */
final class Log
{
    /** What of a request or an answer may be logged; a password is none of it. */
    private const LOGGED = [
        'type', 'service_id', 'plan', 'template', 'options', 'hostname', 'vmid', 'ips', 'reason', 'force', 'lock',
        'immediate', 'recreate', 'status', 'cursor', 'ack', 'drop_in_version', 'event', 'operation', 'error', 'ok',
        'version', 'clock_skew', 'drop_in', 'spec', 'next',
    ];

    /**
     * An entry of WHMCS's module log, which is off until an admin switches it on.
     *
     * @param array<string, mixed> $request what was sent
     * @param array<string, mixed> $answer what came
     * @param string[] $secrets their values, in every form
     */
    public static function call(string $what, array $request, array $answer, array $secrets): void
    {
        if (function_exists('logModuleCall')) {
            logModuleCall(Module::NAME, $what, self::allowed($request), self::allowed($answer), '', $secrets);
        }
    }

    /** A line of the activity log, of a client where there is one. */
    public static function activity(string $words, int $clientId = 0): void
    {
        $entry = ['description' => 'Provisioner: ' . $words];
        if ($clientId > 0) {
            $entry['clientid'] = $clientId;
        }
        try {
            localAPI('LogActivity', $entry);
        } catch (\Throwable $problem) {
            // Nowhere is left to say it, and no page may break for a line of the log.
            return;
        }
    }

    /** Tells staff: in the activity log, and by whatever notification rule they made in WHMCS. */
    public static function report(string $title, string $words, int $clientId = 0): void
    {
        self::activity($title . ': ' . $words, $clientId);
        try {
            localAPI('TriggerNotificationEvent', [
                'notification_identifier' => Module::NAME . '.drop_in',
                'title' => $title,
                'message' => $words,
            ]);
        } catch (\Throwable $problem) {
            return;
        }
    }

    /**
     * A secret raw, HTML-encoded and URL-encoded: WHMCS replaces values, not fields.
     *
     * @param string[] $secrets
     * @return string[]
     */
    public static function forms(array $secrets): array
    {
        $forms = [];
        foreach (array_filter($secrets, 'strlen') as $secret) {
            array_push(
                $forms,
                $secret,
                htmlspecialchars($secret, ENT_QUOTES),
                htmlspecialchars($secret, ENT_COMPAT),
                htmlentities($secret, ENT_QUOTES),
                urlencode($secret),
                rawurlencode($secret)
            );
        }
        return array_values(array_unique($forms));
    }

    /** The beginning of a text, of so many characters. */
    public static function cut(string $text, int $most): string
    {
        $characters = preg_split('//u', $text, -1, PREG_SPLIT_NO_EMPTY);
        return $characters === false ? '' : implode('', array_slice($characters, 0, $most));
    }

    /**
     * @param array<string, mixed> $fields
     * @return array<string, mixed>
     */
    private static function allowed(array $fields): array
    {
        $kept = array_intersect_key($fields, array_flip(self::LOGGED));
        if (isset($fields['items']) && is_array($fields['items'])) {
            $kept['items'] = count($fields['items']);
        }
        return $kept;
    }
}
