<?php
// Mails to clients: rendered from a template, shown to the hooks, sent (standin_mails), logged (tblemails).

namespace StandIn;

use WHMCS\Database\Capsule;

/** api-reference/sendemail.md gives one answer for all reasons why nothing was sent. */
const NOT_SENT = 'Sending Failed. Please see documentation.';

/** @return string empty when it was sent, else why it was not */
function send_template(string $name, int $relid, array $extra = []): string
{
    $template = Capsule::table('tblemailtemplates')->where('name', $name)->first();
    if (!$template) {
        return 'Email Template not found';
    }
    return $template->disabled ? 'Email Template is disabled' : send_mail($template, $relid, $extra);
}

/** @param object $template type, name, subject and message */
function send_mail(object $template, int $relid, array $extra): string
{
    $fields = $template->type === 'product' ? service_fields($relid) : client_fields($relid);
    if (!$fields) {
        return NOT_SENT;
    }
    $fields = $extra + $fields;
    foreach (run_hook('EmailPreSend', ['messagename' => $template->name, 'relid' => $relid, 'mergefields' => $fields]) as $more) {
        if (!empty($more['abortsend'])) {
            logActivity("Email Sending Aborted by Hook (Subject: $template->subject)", $fields['client_id']);
            return NOT_SENT;
        }
        $fields = $more + $fields;
    }
    $subject = merged($template->subject, $fields);
    $body = merged($template->message, $fields);
    if (trim($body) === '') {
        return NOT_SENT;
    }
    Capsule::table('standin_mails')->insert(['name' => $template->name, 'relid' => $relid,
        'recipient' => $fields['client_email'], 'subject' => $subject, 'body' => $body]);
    log_mail((int) $fields['client_id'], $fields['client_email'], $subject, $body);
    return '';
}

function log_mail(int $client, string $to, string $subject, string $body): void
{
    $logged = ['userid' => $client, 'date' => date('Y-m-d H:i:s'), 'to' => $to, 'cc' => '', 'bcc' => '',
        'subject' => $subject, 'message' => $body];
    foreach (run_hook('EmailPreLog', $logged + ['attachments' => []]) as $other) {
        if (!empty($other['abortLogging'])) {
            return;
        }
        $logged = array_intersect_key($other, $logged) + $logged;
    }
    Capsule::table('tblemails')->insert($logged);
}

function merged(string $text, array $fields): string
{
    return preg_replace_callback('/\{\$(\w+)\}/', fn ($found) => (string) ($fields[$found[1]] ?? ''), $text);
}

function client_fields(int $id): array
{
    $client = Capsule::table('tblclients')->find($id);
    return $client ? ['client_id' => $client->id, 'client_name' => trim("$client->firstname $client->lastname"),
        'client_first_name' => $client->firstname, 'client_email' => $client->email] : [];
}

function service_fields(int $id): array
{
    $service = Capsule::table('tblhosting')->find($id);
    if (!$service) {
        return [];
    }
    $product = Capsule::table('tblproducts')->find($service->packageid);
    return client_fields($service->userid) + [
        'service_id' => $service->id, 'service_product_name' => $product->name, 'service_domain' => $service->domain,
        'service_username' => $service->username, 'service_password' => decrypt($service->password),
        'service_dedicated_ip' => $service->dedicatedip, 'service_assigned_ips' => nl2br($service->assignedips),
        'service_status' => $service->domainstatus, 'service_suspension_reason' => $service->suspendreason,
    ];
}
