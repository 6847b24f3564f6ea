<?php
// The pages that show a module: the client's product page, the admin's service, product and server pages.

namespace StandIn;

use WHMCS\Database\Capsule;

require_once '/usr/share/php/smarty4/Smarty.class.php';

/** A template of the module by Smarty, with the module's parameters beside its own variables (client-area-output.md). */
function rendered(string $module, string $template, array $vars): string
{
    $smarty = new \Smarty();
    $smarty->muteUndefinedOrNullWarnings();
    $smarty->setCompileDir(ROOTDIR . '/templates_c');
    $smarty->assign($vars + ['WEB_ROOT' => '', 'token' => generate_token('plain')]);
    $file = ROOTDIR . "/modules/servers/$module/" . preg_replace('/\.tpl$/', '', $template) . '.tpl';
    return $smarty->fetch("file:$file");
}

/** What ClientArea or a custom function returned, as HTML; `replaced` says that the overview gave way to it. */
function module_output(string $module, $output, array $params): array
{
    if (!is_array($output)) {
        return ['html' => (string) $output, 'replaced' => false];
    }
    $replacement = $output['tabOverviewReplacementTemplate'] ?? '';
    $template = $replacement ?: $output['tabOverviewModuleOutputTemplate'] ?? $output['templatefile'] ?? '';
    $vars = ($output['templateVariables'] ?? $output['vars'] ?? []) + $params;
    return ['html' => $template === '' ? '' : rendered($module, $template, $vars), 'replaced' => $replacement !== ''];
}

/** clientarea.php?action=productdetails: the overview, with what was done by a button before it. */
function client_page(int $serviceId, string $button): array
{
    $module = params($serviceId)['moduletype'];
    $done = $button === '' ? null : client_button($serviceId, $button);
    $params = params($serviceId);
    $output = is_array($done) ? $done : call_module($module, 'ClientArea', $params);
    $offered = call_module($module, 'ClientAreaCustomButtonArray', $params);
    return ['done' => is_array($done) ? 'page' : $done, 'buttons' => (object) ($offered ?? [])]
        + module_output($module, $output, $params);
}

/** clientarea.php?action=productdetails&dosinglesignon=1 (single-sign-on.md): where to, or what is shown. */
function single_sign_on(int $serviceId): array
{
    $params = params($serviceId);
    return (array) call_module($params['moduletype'], 'ServiceSingleSignOn', $params);
}

/** Only what the module offers to clients can be run by them. */
function client_button(int $serviceId, string $function)
{
    $params = params($serviceId);
    $offered = array_values((array) call_module($params['moduletype'], 'ClientAreaCustomButtonArray', $params));
    $allowed = array_values((array) call_module($params['moduletype'], 'ClientAreaAllowedFunctions', $params));
    return in_array($function, array_merge($offered, $allowed), true) ? act_custom($serviceId, $function) : 'Function Not Allowed';
}

/** The service's tab in the admin area. */
function admin_service_page(int $serviceId): array
{
    $params = params($serviceId);
    return [
        'fields' => (object) (call_module($params['moduletype'], 'AdminServicesTabFields', $params) ?? []),
        'buttons' => (object) (call_module($params['moduletype'], 'AdminCustomButtonArray', $params) ?? []),
    ];
}

/** "Save Changes" on that tab; `$fields` are columns of tblhosting. */
function save_service(int $serviceId, array $fields, array $moduleFields): void
{
    $client = Capsule::table('tblhosting')->where('id', $serviceId)->value('userid');
    run_hook('PreServiceEdit', ['serviceid' => $serviceId]);
    if ($fields) {
        Capsule::table('tblhosting')->where('id', $serviceId)->update($fields);
    }
    $_POST['modulefields'] = $moduleFields;
    $params = params($serviceId);
    call_module($params['moduletype'], 'AdminServicesTabFieldsSave', $params);
    run_hook('AdminServiceEdit', ['serviceid' => $serviceId, 'userid' => $client]);
    run_hook('ServiceEdit', ['serviceid' => $serviceId, 'userid' => $client]);
}

/** Module Settings of a product: the fields, each loader's choices or its error, and the tab "Other" of the hooks. */
function product_page(int $pid): array
{
    $product = Capsule::table('tblproducts')->find($pid);
    $server = (int) Capsule::table('tblservergroupsrel')->where('groupid', $product->servergroup)->value('serverid');
    $params = server_params($server) + ['pid' => $pid, 'producttype' => $product->type, 'moduletype' => $product->servertype];
    $fields = (array) call_module($product->servertype, 'ConfigOptions', $params);
    foreach ($fields as $name => $field) {
        if (isset($field['Loader'])) {
            $fields[$name]['loaded'] = loaded($field['Loader'], $params);
        }
    }
    $other = array_merge([], ...run_hook('AdminProductConfigFields', ['pid' => $pid]));
    return ['fields' => $fields, 'other' => (object) $other];
}

/** loader-functions.md: value => label, or an exception whose words are shown. */
function loaded(string $loader, array $params): array
{
    try {
        return ['choices' => $loader($params)];
    } catch (\Exception $problem) {
        return ['error' => $problem->getMessage()];
    }
}

/** "Save Changes" on a product: this is where a module's hook file is found. */
function save_product(int $pid, array $fields): void
{
    Capsule::table('tblproducts')->where('id', $pid)->update($fields ?: ['id' => $pid]);
    $product = (array) Capsule::table('tblproducts')->find($pid);
    detect_hooks($product['servertype']);
    $vars = ['pid' => $pid, 'allowqty' => (bool) $product['allowqty'], 'hidden' => false] + $product;
    unset($vars['id']);
    run_hook('ProductEdit', $vars);
    run_hook('AdminProductConfigFieldsSave', ['pid' => $pid]);
}

/** server-sync.md: what the server has beside what is sold. */
function server_sync(int $serverId): array
{
    $module = Capsule::table('tblservers')->where('id', $serverId)->value('type');
    $meta = (array) call_module($module, 'MetaData', []);
    $answer = (array) call_module($module, 'ListAccounts', server_params($serverId));
    foreach ($answer['accounts'] ?? [] as $n => $account) {
        $answer['accounts'][$n]['services'] = services_by($meta['ListAccountsUniqueIdentifierField'] ?? 'domain', $account['uniqueIdentifier'], $serverId);
    }
    return $answer;
}

function services_by(string $field, string $value, int $serverId): array
{
    $services = Capsule::table('tblhosting')->where('server', $serverId)->get();
    $matching = $services->filter(function ($service) use ($field, $value) {
        $name = substr($field, strlen('customfield.'));
        $has = strpos($field, 'customfield.') === 0 ? (field_values($service)[$name] ?? '') : $service->$field;
        return $has !== '' && $has === $value;
    });
    return $matching->pluck('id')->all();
}
