<?php
// WHMCS's global functions that modules and hooks may call.

use WHMCS\Database\Capsule;

/** hooks/getting-started.md, hooks/priority.md */
function add_hook($point, $priority, $callable)
{
    $GLOBALS['standin_hooks'][$point][(int) $priority][] = $callable;
}

/** WHMCS's hook manager is typed: a boolean from a hook is a TypeError that breaks the page. */
function run_hook($point, $vars = [])
{
    $hooks = $GLOBALS['standin_hooks'][$point] ?? [];
    ksort($hooks);
    $answers = [];
    foreach (array_merge(...array_values($hooks)) as $hook) {
        $answer = $hook($vars);
        if (is_bool($answer)) {
            throw new TypeError("hook $point returned a boolean; needed is an array or nothing");
        }
        if ($answer !== null && !is_array($answer)) {
            standin_complain("hook $point returned " . gettype($answer));
        }
        if ($answer) {
            $answers[] = $answer;
        }
    }
    return $answers;
}

/** provisioning-modules/module-logging.md: off until it is switched on; secrets by value, as long as they were. */
function logModuleCall($module, $action, $request, $response, $processed = '', $replace = [])
{
    if (StandIn\setting('ModuleDebugMode') !== 'on') {
        return;
    }
    $shown = function ($what) use ($replace) {
        $text = is_array($what) || is_object($what) ? print_r($what, true) : (string) $what;
        foreach ($replace as $secret) {
            $secret = (string) $secret;
            $text = $secret === '' ? $text : str_replace($secret, str_repeat('*', strlen($secret)), $text);
        }
        return $text;
    };
    Capsule::table('tblmodulelog')->insert([
        'date' => date('Y-m-d H:i:s'), 'module' => $module, 'action' => $action, 'request' => $shown($request),
        'response' => $shown($response), 'arrdata' => $shown($processed),
    ]);
}

/** MySQL takes no text that is not UTF-8. */
function logActivity($message, $clientId = 0)
{
    if (!mb_check_encoding($message, 'UTF-8')) {
        throw new PDOException('Incorrect string value for column description');
    }
    Capsule::table('tblactivitylog')->insert([
        'date' => date('Y-m-d H:i:s'), 'description' => $message, 'userid' => (int) $clientId,
    ]);
}

function encrypt($text)
{
    $iv = random_bytes(16);
    return base64_encode($iv . openssl_encrypt($text, 'aes-256-cbc', $GLOBALS['cc_encryption_hash'], OPENSSL_RAW_DATA, $iv));
}

/** What was never encrypted comes out as rubbish. */
function decrypt($text)
{
    if ((string) $text === '') {
        return '';
    }
    $raw = (string) base64_decode($text);
    $plain = strlen($raw) < 32 ? false
        : openssl_decrypt(substr($raw, 16), 'aes-256-cbc', $GLOBALS['cc_encryption_hash'], OPENSSL_RAW_DATA, substr($raw, 0, 16));
    return $plain === false ? "\x9c\x1frubbish" : $plain;
}

function generate_token($kind = 'form')
{
    $token = sha1($_SESSION['tkval'] . ':token');
    $forms = ['plain' => $token, 'link' => "&token=$token"];
    return $forms[$kind] ?? "<input type=\"hidden\" name=\"token\" value=\"$token\" />";
}

/** Ends the request where the token is not that of the session. */
function check_token($namespace = 'WHMCS.default', $token = null)
{
    if (!hash_equals(generate_token('plain'), (string) ($token ?? $_POST['token'] ?? $_REQUEST['token'] ?? ''))) {
        exit('Invalid token');
    }
}

/** api/internal-api.md */
function localAPI($command, $values = [], $adminuser = '')
{
    return StandIn\answer_action('local', (string) $command, (array) $values);
}
