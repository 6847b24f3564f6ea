<?php
// Stands in for WHMCS, written from its developer documentation: one request, cron run or admin's click a process.
//
// To try a module by hand:
//
//     cp -r tests/acceptance/whmcs/stand_in /tmp/shop && cp -r hooks/billing/whmcs/modules /tmp/shop/ && cd /tmp/shop
//     php whmcs.php install '{"url": "https://billing.example.com/"}'      # a fresh database in whmcs.sqlite
//     php whmcs.php server '{"type": "provisioner", "hostname": "127.0.0.1", "port": 8080, "username": "whmcs", "password": "whsec_…"}'
//     php whmcs.php product '{"servertype": "provisioner", "configoption1": "vps-s", "servergroup": 1}'
//     php whmcs.php save_product '{"pid": 1}'                               # finds the module's hooks.php
//     php whmcs.php client '{}' ; php whmcs.php order '{"client": 1, "pid": 1, "domain": "web1.example.com", "pay": true}'
//     php whmcs.php act '{"service": 1, "verb": "suspend", "more": {"suspendreason": "Abuse"}}'
//     php whmcs.php cron '{"suspend": [1]}' ; php whmcs.php client_page '{"service": 1}' ; php whmcs.php rows '{"table": "tblhosting"}'
//
// `php whmcs.php COMMAND [JSON]` is a run of the cron (nobody is logged in) and prints one JSON object. The same by
// HTTP (`php -S 127.0.0.1:8090`, then POST ["COMMAND", {…}] to /whmcs.php) is a click in a browser, by "as": "admin"
// or "client". COMMAND is one of `commands()` below; "batch" runs a list of [COMMAND, {…}] in one request. What the
// module did that it must not (a warning, a notice, an exception, printing) is a line in complaints.log.
// The external API is there too: POST /includes/api.php. The module log is on: `rows` of tblmodulelog.

/** @return array{0: string, 1: array} the command, and its arguments */
function asked(): array
{
    $given = PHP_SAPI === 'cli'
        ? [$GLOBALS['argv'][1] ?? '', json_decode(($GLOBALS['argv'][2] ?? '') ?: '{}', true, 64, JSON_THROW_ON_ERROR)]
        : json_decode(file_get_contents('php://input'), true, 64, JSON_THROW_ON_ERROR);
    return [$given[0], $given[1] ?? []];
}

[$command, $arguments] = asked();
$as = PHP_SAPI === 'cli' ? 'cron' : ($arguments['as'] ?? 'admin');
if ($as !== 'cron') {
    define($as === 'admin' ? 'ADMINAREA' : 'CLIENTAREA', true);
    $_SERVER['SCRIPT_NAME'] = $as === 'admin' ? '/admin/clientsservices.php' : '/clientarea.php';
}

require __DIR__ . '/init.php';

use WHMCS\Database\Capsule;

/** @return array<string, callable(array): mixed> */
function commands(): array
{
    return [
        'install' => fn (array $a) => install($a['url'] ?? 'https://billing.example.com/'),
        'set' => fn (array $a) => array_map('StandIn\set_setting', array_keys($a), array_values($a)),
        'client' => fn (array $a) => inserted('tblclients', $a + ['firstname' => 'Ada', 'lastname' => 'Byron', 'email' => 'ada@example.com']),
        'server' => 'save_server',
        'product' => fn (array $a) => inserted('tblproducts', $a + ['name' => 'VPS']),
        'option' => 'configurable_option',
        'field' => fn (array $a) => inserted('tblcustomfields', $a + ['type' => 'product']),
        'credential' => fn (array $a) => Capsule::table('standin_credentials')->updateOrInsert(
            ['identifier' => $a['identifier']],
            ['secret' => $a['secret'], 'adminid' => 1, 'actions' => implode(',', $a['actions'])]
        ),
        'row' => fn (array $a) => inserted($a['table'], $a['values']),
        'rows' => fn (array $a) => Capsule::table($a['table'])->where($a['where'] ?? [])->get()->all(),
        'update' => fn (array $a) => Capsule::table($a['table'])->where($a['where'])->update($a['values']),
        'hosting' => 'hosting',
        'order' => 'order',
        'pay' => fn (array $a) => StandIn\pay_order($a['order']),
        'act' => fn (array $a) => StandIn\act($a['service'], $a['verb'], $a['more'] ?? [], $a['automated'] ?? false),
        'admin_button' => fn (array $a) => StandIn\act_custom($a['service'], $a['function']),
        'retry_queued' => fn (array $a) => StandIn\retry_queued($a['id']),
        'upgrade' => fn (array $a) => StandIn\upgrade($a['service'], $a['pid'] ?? null, $a['options'] ?? []),
        'validate_upgrade' => fn (array $a) => StandIn\validate_upgrade($a['service'], $a['pid']),
        'end_order' => fn (array $a) => StandIn\end_order($a['order'], $a['status']),
        'delete_service' => fn (array $a) => StandIn\delete_service($a['service']),
        'cron' => fn (array $a) => StandIn\cron($a['suspend'] ?? [], $a['unsuspend'] ?? [], $a['terminate'] ?? [], $a['daily'] ?? false),
        'client_page' => fn (array $a) => StandIn\client_page($a['service'], $a['button'] ?? ''),
        'single_sign_on' => fn (array $a) => StandIn\single_sign_on($a['service']),
        'admin_page' => fn (array $a) => StandIn\admin_service_page($a['service']),
        'save_service' => fn (array $a) => StandIn\save_service($a['service'], $a['fields'] ?? [], $a['modulefields'] ?? []),
        'product_page' => fn (array $a) => StandIn\product_page($a['pid']),
        'save_product' => fn (array $a) => StandIn\save_product($a['pid'], $a['fields'] ?? []),
        'test_connection' => fn (array $a) => StandIn\call_module(server_type($a['server']), 'TestConnection', StandIn\server_params($a['server'])),
        'server_sync' => fn (array $a) => StandIn\server_sync($a['server']),
        'meta' => fn (array $a) => StandIn\call_module($a['module'], 'MetaData', []),
        'local_api' => fn (array $a) => localAPI($a['action'], $a['values'] ?? []),
        'hook' => fn (array $a) => run_hook($a['point'], $a['vars'] ?? []),
        'decrypted' => fn (array $a) => decrypt($a['text']),
        'batch' => fn (array $a) => array_map(fn (array $one) => carried_out($one[0], $one[1] ?? []), $a),
    ];
}

/** A new, empty installation. */
function install(string $url): void
{
    foreach (['SystemURL' => $url, 'Version' => '8.13.1', 'ModuleDebugMode' => 'on', 'ModuleHooks' => '', 'APIAllowedIPs' => '127.0.0.1', 'CompanyName' => 'Shop'] as $name => $value) {
        StandIn\set_setting($name, $value);
    }
    inserted('tbladmins', ['username' => 'anna', 'firstname' => 'Anna', 'lastname' => 'Admin', 'email' => 'anna@example.com']);
    inserted('tblticketdepartments', ['name' => 'Support']);
    inserted('tblservergroups', ['name' => 'provisioner']);
    inserted('tblemailtemplates', [
        'type' => 'product', 'name' => 'New VPS Information', 'custom' => 1, 'subject' => 'Your {$service_product_name} is ready',
        'message' => '<p>Dear {$client_name},</p><p>Address: {$service_dedicated_ip} {$service_assigned_ips}<br>User: {$service_username}<br>Password: {$service_password}</p>',
    ]);
    inserted('tblemailtemplates', ['type' => 'general', 'name' => 'Client Signup Email', 'subject' => 'Welcome', 'message' => 'Hello {$client_name}']);
}

function inserted(string $table, array $values): int
{
    return Capsule::table($table)->insertGetId($values);
}

/** A form of the admin area: special characters are stored as entities, the password encrypted besides. */
function save_server(array $a): int
{
    $stored = array_map(fn ($value) => is_string($value) ? htmlspecialchars($value, ENT_QUOTES) : $value, $a);
    $stored['password'] = encrypt($stored['password'] ?? '');
    $id = $stored['id'] ?? null;
    unset($stored['id']);
    if ($id) {
        Capsule::table('tblservers')->where('id', $id)->update($stored);
        return $id;
    }
    $id = inserted('tblservers', $stored);
    inserted('tblservergroupsrel', ['groupid' => 1, 'serverid' => $id]);
    return $id;
}

/** @param array $a pid, name (`key|Label`), type (dropdown, radio, yesno, quantity) and choices (`value|Label`) */
function configurable_option(array $a): array
{
    $group = Capsule::table('tblproductconfiglinks')->where('pid', $a['pid'])->value('gid');
    if (!$group) {
        $group = inserted('tblproductconfiggroups', ['name' => 'Options']);
        inserted('tblproductconfiglinks', ['gid' => $group, 'pid' => $a['pid']]);
    }
    $types = ['dropdown' => '1', 'radio' => '2', 'yesno' => '3', 'quantity' => '4'];
    $option = inserted('tblproductconfigoptions', ['gid' => $group, 'optionname' => $a['name'], 'optiontype' => $types[$a['type'] ?? 'dropdown']]);
    $choices = [];
    foreach ($a['choices'] ?? [$a['name']] as $choice) {
        $choices[StandIn\key_of($choice)] = inserted('tblproductconfigoptionssub', ['configid' => $option, 'optionname' => $choice]);
    }
    return ['option' => $option, 'choices' => $choices];
}

/** A service that is there already, without an order or a module. */
function hosting(array $a): int
{
    $a['password'] = encrypt($a['password'] ?? '');
    return inserted('tblhosting', $a + ['userid' => 1, 'packageid' => 1, 'server' => 1, 'regdate' => date('Y-m-d'), 'domainstatus' => 'Active']);
}

function order(array $a): array
{
    $placed = StandIn\place_order($a['client'] ?? 1, $a['pid'], $a['domain'] ?? '', $a['options'] ?? [], $a['fields'] ?? [], $a['qty'] ?? 1);
    return $placed + (($a['pay'] ?? false) ? ['answer' => StandIn\pay_order($placed['orderid'])] : []);
}

function server_type(int $id): string
{
    return Capsule::table('tblservers')->where('id', $id)->value('type');
}

/** Who is logged in, and what the browser sent. */
function come_in(string $as, array $a): void
{
    $_SESSION['adminid'] = $as === 'admin' ? 1 : null;
    $_SESSION['uid'] = $as === 'client' ? ($a['client'] ?? 1) : null;
    $_SERVER['REQUEST_METHOD'] = $a['method'] ?? 'GET';
    $_GET = $a['get'] ?? [];
    $_POST = ($a['post'] ?? []) + (($a['with_token'] ?? false) ? ['token' => generate_token('plain')] : []);
    $_REQUEST = $_POST + $_GET;
}

function carried_out(string $command, array $a)
{
    return commands()[$command]($a);
}

// A hook or module that ends the request (check_token does) leaves a page that says so.
register_shutdown_function(function (): void {
    if (empty($GLOBALS['standin_answered'])) {
        $page = ob_get_level() ? ob_get_clean() : '';
        echo json_encode(['ended' => $page . (error_get_last()['message'] ?? '')], JSON_INVALID_UTF8_SUBSTITUTE);
    }
});
ob_start();
try {
    come_in($as, $arguments);
    $answer = ['answer' => carried_out($command, $arguments)];
} catch (Throwable $problem) {
    $answer = ['broken' => get_class($problem) . ': ' . $problem->getMessage() . ' at ' . $problem->getFile() . ':' . $problem->getLine()];
}
$printed = ob_get_clean();
$GLOBALS['standin_answered'] = true;
echo json_encode($answer + ($printed === '' ? [] : ['printed' => $printed]), JSON_INVALID_UTF8_SUBSTITUTE | JSON_THROW_ON_ERROR), "\n";
