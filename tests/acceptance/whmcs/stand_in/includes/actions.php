<?php
// The API's actions, for localAPI and for includes/api.php alike: parameters, answers and errors as documented.

namespace StandIn;

use WHMCS\Database\Capsule;

/** @return array `result` and more, or `result` = error and `message` */
function answer_action(string $way, string $action, array $values): array
{
    $function = __NAMESPACE__ . '\\api_' . strtolower($action);
    try {
        $answer = function_exists($function) ? $function($values) : refused('Command Not Found');
    } catch (Refused $problem) {
        $answer = ['result' => 'error', 'message' => $problem->getMessage()];
    }
    $shown = array_diff_key($values, array_flip(['servicepassword', 'secret', 'password', 'accesskey', 'password2']));
    Capsule::table('standin_calls')->insert(['way' => $way, 'action' => $action,
        'params' => json_encode($shown, JSON_INVALID_UTF8_SUBSTITUTE), 'result' => $answer['message'] ?? $answer['result']]);
    return $answer;
}

class Refused extends \Exception
{
}

function refused(string $words): void
{
    throw new Refused($words);
}

function done(array $more = []): array
{
    return ['result' => 'success'] + $more;
}

function needed(bool $there, string $words): void
{
    if (!$there) {
        refused($words);
    }
}

/** The parameter's columns; `unset` clears those that it may name. */
const WRITABLE = [
    'pid' => 'packageid', 'serverid' => 'server', 'regdate' => 'regdate', 'nextduedate' => 'nextduedate',
    'terminationdate' => 'termination_date', 'domain' => 'domain', 'firstpaymentamount' => 'firstpaymentamount',
    'recurringamount' => 'amount', 'paymentmethod' => 'paymentmethod', 'billingcycle' => 'billingcycle',
    'subscriptionid' => 'subscriptionid', 'status' => 'domainstatus', 'notes' => 'notes',
    'serviceusername' => 'username', 'servicepassword' => 'password', 'overideautosuspend' => 'overideautosuspend',
    'overidesuspenduntil' => 'overidesuspenduntil', 'ns1' => 'ns1', 'ns2' => 'ns2', 'dedicatedip' => 'dedicatedip',
    'assignedips' => 'assignedips', 'diskusage' => 'diskusage', 'disklimit' => 'disklimit', 'bwusage' => 'bwusage',
    'bwlimit' => 'bwlimit', 'suspendreason' => 'suspendreason', 'promoid' => 'promoid',
];
const CLEARABLE = ['domain', 'serviceusername', 'servicepassword', 'subscriptionid', 'ns1', 'ns2', 'dedicatedip',
    'assignedips', 'notes', 'suspendreason'];

function api_updateclientproduct(array $values): array
{
    $id = (int) ($values['serviceid'] ?? 0);
    needed(Capsule::table('tblhosting')->where('id', $id)->exists(), 'Service ID Not Found');
    $written = [];
    foreach (array_intersect_key(WRITABLE, $values) as $name => $column) {
        if ((string) $values[$name] !== '') {  // what is empty was not given: that is what unset is for
            $written[$column] = $name === 'servicepassword' ? encrypt($values[$name]) : (string) $values[$name];
        }
    }
    foreach (array_intersect((array) ($values['unset'] ?? []), CLEARABLE) as $name) {
        $written[WRITABLE[$name]] = '';
    }
    if ($written) {
        Capsule::table('tblhosting')->where('id', $id)->update($written);
    }
    foreach (unpacked($values['customfields'] ?? '') as $field => $value) {
        Capsule::table('tblcustomfieldsvalues')->updateOrInsert(['fieldid' => $field, 'relid' => $id], ['value' => $value]);
    }
    return done(['serviceid' => (string) $id]);
}

function unpacked($packed): array
{
    return $packed ? (array) unserialize((string) base64_decode($packed), ['allowed_classes' => false]) : [];
}

function api_getclientsproducts(array $values): array
{
    $query = Capsule::table('tblhosting');
    $given = ['clientid' => 'userid', 'serviceid' => 'id', 'pid' => 'packageid', 'domain' => 'domain', 'username2' => 'username'];
    foreach ($given as $name => $column) {
        if (!empty($values[$name])) {
            $query->where($column, $values[$name]);
        }
    }
    $total = $query->count();
    $start = (int) ($values['limitstart'] ?? 0);
    $rows = $query->orderBy('id')->offset($start)->limit((int) ($values['limitnum'] ?? 0) ?: 25)->get();
    $products = $rows->map(fn ($row) => product_of($row))->all();
    $asked = array_fill_keys(['clientid', 'serviceid', 'pid', 'domain'], null);
    return done(array_intersect_key($values, $asked) + $asked + [
        'totalresults' => (string) $total, 'startnumber' => $start, 'numreturned' => count($products),
        'products' => $products ? ['product' => $products] : '',
    ]);
}

function product_of(object $row): array
{
    $product = Capsule::table('tblproducts')->find($row->packageid);
    $server = $row->server ? Capsule::table('tblservers')->find($row->server) : null;
    $told = [
        'id' => $row->id, 'qty' => $row->qty, 'clientid' => $row->userid, 'orderid' => $row->orderid, 'pid' => $row->packageid,
        'regdate' => $row->regdate, 'name' => $product->name, 'translated_name' => $product->name, 'domain' => $row->domain,
        'dedicatedip' => $row->dedicatedip, 'serverid' => $row->server, 'servername' => $server->name ?? '',
        'serverip' => $server->ipaddress ?? '', 'serverhostname' => $server->hostname ?? '',
        'suspensionreason' => $row->suspendreason, 'firstpaymentamount' => $row->firstpaymentamount,
        'recurringamount' => $row->amount, 'paymentmethod' => $row->paymentmethod, 'billingcycle' => $row->billingcycle,
        'nextduedate' => $row->nextduedate, 'status' => $row->domainstatus, 'username' => $row->username,
        'password' => setting('StandInMasksPasswords') === 'on' ? 'xxxxxxxx' : decrypt($row->password),
        'subscriptionid' => $row->subscriptionid, 'promoid' => $row->promoid,
        'overideautosuspend' => $row->overideautosuspend, 'overidesuspenduntil' => $row->overidesuspenduntil,
        'ns1' => $row->ns1, 'ns2' => $row->ns2, 'assignedips' => $row->assignedips, 'notes' => $row->notes,
        'diskusage' => $row->diskusage, 'disklimit' => $row->disklimit, 'bwusage' => $row->bwusage,
        'bwlimit' => $row->bwlimit, 'lastupdate' => $row->lastupdate,
    ];
    $fields = custom_fields($row->packageid)->map(fn ($field) => ['id' => (string) $field->id, 'name' => $field->fieldname,
        'value' => field_values($row)[key_of($field->fieldname)]]);
    return array_map('strval', $told)
        + ['customfields' => ['customfield' => $fields->all()], 'configoptions' => ['configoption' => []]];
}

function api_sendemail(array $values): array
{
    $custom = (string) ($values['customtype'] ?? '');
    needed($custom !== '' || !empty($values['messagename']), 'You must provide either an existing email template name or a custom message type');
    needed($custom === '' || in_array($custom, ['general', 'product', 'domain', 'invoice', 'support', 'affiliate'], true), 'Invalid message type provided');
    needed($custom === '' || !empty($values['customsubject']), 'A subject is required for a custom message');
    needed($custom === '' || !empty($values['custommessage']), 'A message body is required for a custom message');
    needed(!empty($values['id']), 'A related ID is required');
    $extra = unpacked($values['customvars'] ?? '');
    $said = $custom === '' ? send_template($values['messagename'], (int) $values['id'], $extra) : send_mail((object) [
        'type' => $custom, 'name' => '', 'subject' => $values['customsubject'], 'message' => $values['custommessage'],
    ], (int) $values['id'], $extra);
    needed($said === '', $said);
    return done();
}

function api_logactivity(array $values): array
{
    needed(!empty($values['description']), 'Description is required');
    logActivity($values['description'], $values['clientid'] ?? $values['userid'] ?? 0);
    return done();
}

function api_triggernotificationevent(array $values): array
{
    foreach (['notification_identifier' => 'require a identifier string to be passed', 'title' => 'require a title to be provided', 'message' => 'require a message to be provided'] as $name => $words) {
        needed(!empty($values[$name]), "API Notification Events $words.");
    }
    Capsule::table('standin_notifications')->insert([
        'identifier' => $values['notification_identifier'], 'title' => $values['title'], 'message' => $values['message'],
        'url' => $values['url'] ?? '', 'status' => $values['status'] ?? '', 'style' => $values['statusStyle'] ?? '',
        'attributes' => json_encode($values['attributes'] ?? []),
    ]);
    return done();
}

function api_openticket(array $values): array
{
    $client = (int) ($values['clientid'] ?? 0);
    $service = (int) ($values['serviceid'] ?? 0);
    needed(!$client || Capsule::table('tblclients')->where('id', $client)->exists(), 'Client ID Not Found');
    needed($client || (!empty($values['name']) && !empty($values['email'])), 'Name and email address are required if not a client');
    needed(Capsule::table('tblticketdepartments')->where('id', $values['deptid'] ?? 0)->exists(), 'Department ID not found');
    needed(!empty($values['subject']), 'Subject is required');
    needed(!empty($values['message']), 'Message is required');
    needed(!$service || Capsule::table('tblhosting')->where(['id' => $service, 'userid' => $client])->exists(), 'Service ID Not Found');
    $tid = (string) random_int(100_000, 999_999);
    $id = Capsule::table('tbltickets')->insertGetId([
        'tid' => $tid, 'did' => $values['deptid'], 'userid' => $client, 'c' => bin2hex(random_bytes(4)),
        'date' => date('Y-m-d H:i:s'), 'title' => $values['subject'], 'message' => $values['message'],
        'urgency' => $values['priority'] ?? 'Medium', 'service' => $service ? "S$service" : '',
    ]);
    if (empty($values['noemail'])) {
        Capsule::table('standin_mails')->insert(['name' => 'Support Ticket Opened', 'relid' => $id,
            'recipient' => 'the client', 'subject' => $values['subject'], 'body' => $values['message']]);
    }
    return done(['id' => (string) $id, 'tid' => $tid, 'c' => 'KPqH7yG3']);
}

function api_addticketnote(array $values): array
{
    $by = !empty($values['ticketnum']) ? ['tid' => $values['ticketnum']] : ['id' => $values['ticketid'] ?? 0];
    $ticket = Capsule::table('tbltickets')->where($by)->value('id');
    needed((bool) $ticket, 'Ticket ID not found');
    needed(!empty($values['message']), 'Message is required');
    Capsule::table('tblticketnotes')->insert(['ticketid' => $ticket, 'date' => date('Y-m-d H:i:s'), 'message' => $values['message']]);
    return done();
}

function api_sendadminemail(array $values): array
{
    needed(!empty($values['messagename']) || !empty($values['custommessage']), 'Email Template not found');
    Capsule::table('standin_mails')->insert(['name' => 'admin', 'relid' => 0, 'recipient' => 'admins',
        'subject' => $values['customsubject'] ?? '', 'body' => $values['custommessage'] ?? '']);
    return done();
}

function api_whmcsdetails(array $values): array
{
    return done(['whmcs' => ['version' => setting('Version'), 'canonicalversion' => setting('Version') . '-release.1']]);
}

function api_decryptpassword(array $values): array
{
    return done(['password' => decrypt($values['password2'] ?? '')]);
}

function api_encryptpassword(array $values): array
{
    return done(['password' => encrypt($values['password2'] ?? '')]);
}

function api_getemailtemplates(array $values): array
{
    $found = Capsule::table('tblemailtemplates')->where($values['type'] ?? '' ? ['type' => $values['type']] : [])->get();
    $told = $found->map(fn ($row) => ['id' => (string) $row->id, 'name' => $row->name, 'subject' => $row->subject, 'custom' => (bool) $row->custom]);
    return done(['emailtemplates' => $told->isEmpty() ? '' : ['emailtemplate' => $told->all()]]);
}

/** getmodulequeue.md shows flat keys. */
function api_getmodulequeue(array $values): array
{
    $query = Capsule::table('tblmodulequeue')->where('completed', 0);
    foreach (['relatedId' => 'service_id', 'serviceType' => 'service_type', 'moduleName' => 'module_name', 'moduleAction' => 'module_action'] as $name => $column) {
        if (!empty($values[$name])) {
            $query->where($column, $values[$name]);
        }
    }
    $flat = [];
    foreach ($query->get() as $n => $row) {
        foreach (['id' => 'id', 'serviceType' => 'service_type', 'serviceId' => 'service_id', 'moduleName' => 'module_name', 'moduleAction' => 'module_action',
            'lastAttempt' => 'last_attempt', 'lastAttemptError' => 'last_attempt_error', 'numRetries' => 'num_retries', 'completed' => 'completed'] as $name => $column) {
            $flat["queue[$n][$name]"] = (string) $row->$column;
        }
    }
    return done(['count' => (string) $query->count()] + $flat);
}

function api_modulecreate(array $values): array
{
    return ran($values, 'create');
}

function api_modulesuspend(array $values): array
{
    return ran($values, 'suspend', ['suspendreason' => $values['suspendreason'] ?? '']);
}

function api_moduleunsuspend(array $values): array
{
    return ran($values, 'unsuspend');
}

function api_moduleterminate(array $values): array
{
    return ran($values, 'terminate');
}

function api_modulechangepackage(array $values): array
{
    return ran($values, 'changepackage');
}

function api_modulecustom(array $values): array
{
    service_given($values);
    $said = act_custom((int) ($values['serviceid'] ?? $values['accountid']), (string) ($values['func_name'] ?? ''), true);
    needed($said === 'success', is_string($said) ? $said : 'An unknown error occurred');
    return done();
}

function ran(array $values, string $verb, array $more = []): array
{
    $said = act(service_given($values), $verb, $more, true);
    needed($said === 'success', $said);
    return done();
}

function service_given(array $values): int
{
    $id = (int) ($values['serviceid'] ?? $values['accountid'] ?? 0);
    needed($id > 0, 'Service ID is required');
    needed(Capsule::table('tblhosting')->where('id', $id)->exists(), 'Service ID not found');
    return $id;
}
