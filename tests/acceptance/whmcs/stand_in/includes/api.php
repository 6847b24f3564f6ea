<?php
// The external API (api/authentication.md, api/access-control.md): POST, form-encoded, by identifier and secret.

require __DIR__ . '/../init.php';

use WHMCS\Database\Capsule;

/** @return array the answer to this request */
function standin_answered(array $asked, string $address): array
{
    $action = (string) ($asked['action'] ?? '');
    $identifier = (string) ($asked['identifier'] ?? $asked['username'] ?? '');
    $credential = Capsule::table('standin_credentials')->where('identifier', $identifier)->first();
    $key = (string) ($GLOBALS['api_access_key'] ?? '');
    $allowed = in_array($address, explode(',', StandIn\setting('APIAllowedIPs')), true);
    if (!$allowed && ($key === '' || !hash_equals($key, (string) ($asked['accesskey'] ?? '')))) {
        return ['result' => 'error', 'message' => "Invalid IP $address"];
    }
    if (!$credential) {
        return ['result' => 'error', 'message' => 'Invalid or missing credentials'];
    }
    if (!hash_equals($credential->secret, (string) ($asked['secret'] ?? $asked['password'] ?? ''))) {
        return ['result' => 'error', 'message' => 'Authentication Failed'];
    }
    if (!in_array(strtolower($action), explode(',', strtolower($credential->actions)), true)) {
        return ['result' => 'error', 'message' => "Invalid Permissions: API action \"$action\" is not allowed"];
    }
    $_SESSION['adminid'] = $credential->adminid;
    unset($asked['identifier'], $asked['secret'], $asked['accesskey'], $asked['responsetype'], $asked['action']);
    return StandIn\answer_action('remote', $action, standin_cleaned($asked));
}

/** With this switch what comes by HTTP is stored with its special characters as entities, as forms are. */
function standin_cleaned(array $asked): array
{
    array_walk_recursive($asked, function (&$value) {
        $value = StandIn\setting('StandInEncodesInput') === 'on' ? htmlspecialchars((string) $value, ENT_QUOTES) : $value;
    });
    return $asked;
}

$answer = standin_answered($_POST, $_SERVER['REMOTE_ADDR']);
$authentic = preg_match('/^(Invalid|Authentication)/', $answer['message'] ?? '') === 0;
http_response_code($authentic ? 200 : 403);
header('Content-Type: application/json');
echo json_encode($answer, JSON_INVALID_UTF8_SUBSTITUTE);
