<?php
// Provisioning modules: their parameters, their functions, and what WHMCS does before and after.

namespace StandIn;

use WHMCS\Database\Capsule;
use WHMCS\Service\Service;

/** verb => the hooks' word, the module's function */
const ACTIONS = [
    'create' => ['Create', 'CreateAccount'],
    'suspend' => ['Suspend', 'SuspendAccount'],
    'unsuspend' => ['Unsuspend', 'UnsuspendAccount'],
    'terminate' => ['Terminate', 'TerminateAccount'],
    'changepackage' => ['ChangePackage', 'ChangePackage'],
    'changepassword' => ['ChangePassword', 'ChangePassword'],
    'renew' => ['Renew', 'Renew'],
];

/** hooks/module-hooks.md: a module's hooks.php is found when it is activated, and read on every page from then on. */
function load_hooks(): void
{
    $GLOBALS['standin_hooks'] = [];
    foreach (array_filter(explode(',', setting('ModuleHooks'))) as $module) {
        $file = ROOTDIR . "/modules/servers/$module/hooks.php";
        if (is_file($file)) {
            require $file;
        }
    }
    foreach (glob(ROOTDIR . '/includes/hooks/*.php') as $file) {
        if (basename($file)[0] !== '_') {
            require $file;
        }
    }
}

function detect_hooks(string $module): void
{
    $known = array_filter(explode(',', setting('ModuleHooks')));
    if (is_file(ROOTDIR . "/modules/servers/$module/hooks.php") && !in_array($module, $known, true)) {
        set_setting('ModuleHooks', implode(',', [...$known, $module]));
    }
}

function defines(string $module, string $function): bool
{
    $file = ROOTDIR . "/modules/servers/$module/$module.php";
    if (is_file($file)) {
        require_once $file;
    }
    return function_exists("{$module}_$function");
}

/** What the module's function returns; null where it has none. An exception is shown to staff with its trace. */
function call_module(string $module, string $function, array $params)
{
    if (!defines($module, $function)) {
        return null;
    }
    ob_start();
    try {
        return "{$module}_$function"($params);
    } catch (\Throwable $problem) {
        standin_complain("{$module}_$function threw " . $problem);
        return $problem->getMessage();
    } finally {
        $echoed = ob_get_clean();
        if ($echoed !== '') {
            standin_complain("{$module}_$function printed " . substr($echoed, 0, 200));
        }
    }
}

/** `key|Label` is shown as Label and passed as key; so is a choice's `value|Label`. */
function key_of(string $name): string
{
    return explode('|', $name, 2)[0];
}

function custom_fields(int $product): \Illuminate\Support\Collection
{
    return Capsule::table('tblcustomfields')->where(['type' => 'product', 'relid' => $product])->get();
}

/** provisioning-modules/module-parameters.md, and what dumps of real modules show besides. */
function params(int $serviceId): array
{
    $service = Capsule::table('tblhosting')->find($serviceId);
    $product = Capsule::table('tblproducts')->find($service->packageid);
    $params = [
        'whmcsVersion' => setting('Version'), 'accountid' => $service->id, 'serviceid' => $service->id, 'addonId' => 0,
        'userid' => $service->userid, 'domain' => $service->domain, 'username' => $service->username,
        'password' => decrypt($service->password), 'packageid' => $product->id, 'pid' => $product->id,
        'serverid' => $service->server, 'status' => $service->domainstatus, 'type' => $product->type,
        'producttype' => $product->type, 'moduletype' => $product->servertype, 'qty' => $service->qty,
        'model' => Service::find($service->id),
        'configoptions' => chosen_options($serviceId), 'customfields' => field_values($service),
        'clientsdetails' => client_details($service->userid),
    ];
    for ($n = 1; $n <= 24; $n++) {
        $params["configoption$n"] = (string) $product->{"configoption$n"};
    }
    return $params + server_params((int) $service->server);
}

/** A dropdown or radio gives the choice's value, yes/no and quantity give the number; an option without a row nothing. */
function chosen_options(int $serviceId): array
{
    $chosen = [];
    foreach (Capsule::table('tblhostingconfigoptions')->where('relid', $serviceId)->get() as $row) {
        $option = Capsule::table('tblproductconfigoptions')->find($row->configid);
        $choice = Capsule::table('tblproductconfigoptionssub')->find($row->optionid);
        $counted = in_array($option->optiontype, ['3', '4'], true);
        $chosen[key_of($option->optionname)] = $counted ? (int) $row->qty : key_of((string) ($choice->optionname ?? ''));
    }
    return $chosen;
}

function field_values(object $service): array
{
    $values = [];
    foreach (custom_fields($service->packageid) as $field) {
        $stored = Capsule::table('tblcustomfieldsvalues')->where(['fieldid' => $field->id, 'relid' => $service->id]);
        $values[key_of($field->fieldname)] = (string) $stored->value('value');
    }
    return $values;
}

function client_details(int $id): array
{
    $client = (array) Capsule::table('tblclients')->find($id);
    return ['userid' => $id, 'client_id' => $id, 'fullname' => trim("$client[firstname] $client[lastname]")] + $client;
}

function server_params(int $id): array
{
    $server = $id ? Capsule::table('tblservers')->find($id) : null;
    return [
        'server' => (bool) $server, 'serverid' => $id, 'serverip' => $server->ipaddress ?? '',
        'serverhostname' => $server->hostname ?? '', 'serverusername' => $server->username ?? '',
        'serverpassword' => decrypt($server->password ?? ''), 'serveraccesshash' => $server->accesshash ?? '',
        'serversecure' => ($server->secure ?? '') === 'on', 'serverport' => $server->port ?? '',
        'serverhttpprefix' => ($server->secure ?? '') === 'on' ? 'https' : 'http',
    ];
}

/**
 * Runs one of the core functions (provisioning-modules/core-module-functions.md).
 *
 * @param array $more parameters of this call besides, as `suspendreason`
 * @param bool $automated whether a failure goes to the Module Queue
 * @return string 'success' or what went wrong
 */
function act(int $serviceId, string $verb, array $more = [], bool $automated = false): string
{
    [$word, $function] = ACTIONS[$verb];
    $service = Capsule::table('tblhosting')->find($serviceId);
    if (!$service) {
        return 'Service ID not found';
    }
    $module = (string) Capsule::table('tblproducts')->where('id', $service->packageid)->value('servertype');
    if ($module === '') {
        return 'Service not assigned to a module';
    }
    if (!defines($module, $function)) {
        return 'Function Not Supported by Module';
    }
    if ($verb === 'create') {
        prepare($service);
    }
    $params = ['action' => $verb] + $more + params($serviceId);
    $answer = guarded($word, $params, fn (array $params) => call_module($module, $function, $params));
    if ($answer === 'success') {
        succeeded($serviceId, $verb, $more);
        logActivity("Module $word Successful - Service ID: $serviceId", $service->userid);
        run_hook("AfterModule$word", ['params' => $params]);
        return 'success';
    }
    return failed($serviceId, $module, $word, $function, $params, $answer, $automated);
}

/** Runs it unless a PreModule hook aborts it; what those hooks return replaces parameters. */
function guarded(string $word, array $params, callable $run)
{
    foreach (run_hook("PreModule$word", ['params' => $params]) as $other) {
        if (!empty($other['abortcmd'])) {
            return 'Function Aborted by Action Hook Code';
        }
        $params = $other + $params;
    }
    return $run($params);
}

/** A service gets its server, a username and a password before it is created. */
function prepare(object $service): void
{
    $product = Capsule::table('tblproducts')->find($service->packageid);
    $first = Capsule::table('tblservergroupsrel')->where('groupid', $product->servergroup)->value('serverid');
    Capsule::table('tblhosting')->where('id', $service->id)->update([
        'server' => $service->server ?: (int) $first,
        'username' => $service->username ?: substr(preg_replace('/[^a-z]/', '', strtolower($service->domain)), 0, 8),
        'password' => $service->password ?: encrypt(bin2hex(random_bytes(5))),
    ]);
}

/** Statuses and mails of "Action Events". */
function succeeded(int $serviceId, string $verb, array $more): void
{
    $written = [
        'create' => ['domainstatus' => 'Active'],
        'suspend' => ['domainstatus' => 'Suspended', 'suspendreason' => $more['suspendreason'] ?? ''],
        'unsuspend' => ['domainstatus' => 'Active', 'suspendreason' => ''],
        'terminate' => ['domainstatus' => 'Terminated', 'termination_date' => date('Y-m-d')],
        'changepassword' => ['password' => encrypt($more['password'] ?? '')],
    ][$verb] ?? [];
    if ($written) {
        Capsule::table('tblhosting')->where('id', $serviceId)->update($written);
    }
    if ($verb === 'create') {
        $service = Capsule::table('tblhosting')->find($serviceId);
        $template = Capsule::table('tblproducts')->where('id', $service->packageid)->value('welcomeemail');
        if ($template) {
            send_template(Capsule::table('tblemailtemplates')->where('id', $template)->value('name'), $serviceId);
        }
    }
}

function failed(int $id, string $module, string $word, string $function, array $params, $answer, bool $automated): string
{
    $words = is_string($answer) ? $answer : 'An unknown error occurred';
    logActivity("Module $word Failed - Service ID: $id - Error: $words", $params['userid']);
    run_hook("AfterModule{$word}Failed", ['params' => $params, 'failureResponseMessage' => $words]);
    if ($automated) {
        enqueue($id, $module, $function, $words);
    }
    return $words;
}

function enqueue(int $serviceId, string $module, string $function, string $words): void
{
    $now = date('Y-m-d H:i:s');
    $open = ['service_type' => 'service', 'service_id' => $serviceId, 'module_name' => $module,
        'module_action' => $function, 'completed' => 0];
    $known = Capsule::table('tblmodulequeue')->where($open)->first();
    $tried = ['last_attempt' => $now, 'last_attempt_error' => $words, 'updated_at' => $now];
    $known
        ? Capsule::table('tblmodulequeue')->where('id', $known->id)->update($tried)
        : Capsule::table('tblmodulequeue')->insert($open + $tried + ['created_at' => $now]);
}

/** "Retry" in the Module Queue. */
function retry_queued(int $id): string
{
    $row = Capsule::table('tblmodulequeue')->find($id);
    $verb = array_search($row->module_action, array_map(fn ($action) => $action[1], ACTIONS), true);
    $answer = act($row->service_id, $verb);
    Capsule::table('tblmodulequeue')->where('id', $id)->update([
        'completed' => (int) ($answer === 'success'), 'num_retries' => $row->num_retries + 1,
        'last_attempt_error' => $answer === 'success' ? $row->last_attempt_error : $answer,
    ]);
    return $answer;
}

/** A custom function: 'success', an error, or the array that describes a page (custom-functions.md). */
function act_custom(int $serviceId, string $function, bool $automated = false)
{
    $params = ['action' => $function] + params($serviceId);
    if (!defines($params['moduletype'], $function)) {
        return 'Function Not Found';
    }
    $answer = guarded('Custom', $params, fn (array $params) => call_module($params['moduletype'], $function, $params));
    $well = $answer === 'success' || is_array($answer);
    $vars = ['params' => $params] + ($well ? [] : ['failureResponseMessage' => (string) $answer]);
    run_hook($well ? 'AfterModuleCustom' : 'AfterModuleCustomFailed', $vars);
    return $answer;
}
