<?php
// Orders, upgrades, and the system cron.

namespace StandIn;

use WHMCS\Database\Capsule;

/**
 * An order of one product.
 *
 * @param array $options what was chosen: option id => choice id, or number for yes/no and quantities
 * @param array $fields custom field id => value
 */
function place_order(int $client, int $pid, string $domain, array $options, array $fields, int $qty): array
{
    $order = Capsule::table('tblorders')->insertGetId([
        'ordernum' => random_int(1_000_000, 9_999_999), 'userid' => $client, 'date' => date('Y-m-d H:i:s'), 'status' => 'Pending',
    ]);
    $service = Capsule::table('tblhosting')->insertGetId([
        'userid' => $client, 'orderid' => $order, 'packageid' => $pid, 'domain' => $domain, 'qty' => $qty,
        'regdate' => date('Y-m-d'), 'password' => encrypt(bin2hex(random_bytes(5))),
    ]);
    choose($service, $options);
    foreach ($fields as $field => $value) {
        Capsule::table('tblcustomfieldsvalues')->insert(['fieldid' => $field, 'relid' => $service, 'value' => $value]);
    }
    run_hook('AfterShoppingCartCheckout', ['OrderID' => $order, 'OrderNumber' => 1, 'ServiceIDs' => [$service],
        'AddonIDs' => [], 'DomainIDs' => [], 'InvoiceID' => 0, 'TotalDue' => 0, 'PaymentMethod' => 'banktransfer']);
    return ['orderid' => $order, 'serviceid' => $service];
}

/** Writes what was chosen; null takes an option away. */
function choose(int $service, array $options): void
{
    foreach ($options as $option => $choice) {
        $row = ['relid' => $service, 'configid' => $option];
        if ($choice === null) {
            Capsule::table('tblhostingconfigoptions')->where($row)->delete();
            continue;
        }
        $type = Capsule::table('tblproductconfigoptions')->where('id', $option)->value('optiontype');
        $counted = in_array($type, ['3', '4'], true);
        $first = Capsule::table('tblproductconfigoptionssub')->where('configid', $option)->value('id');
        Capsule::table('tblhostingconfigoptions')->updateOrInsert(
            $row, ['optionid' => $counted ? (int) $first : $choice, 'qty' => $counted ? $choice : 0]
        );
    }
}

/** The first invoice is paid; the product says whether that sets it up. */
function pay_order(int $order): string
{
    $service = Capsule::table('tblhosting')->where('orderid', $order)->first();
    run_hook('OrderPaid', ['orderId' => $order, 'userId' => $service->userid, 'invoiceId' => 0]);
    $autosetup = Capsule::table('tblproducts')->where('id', $service->packageid)->value('autosetup');
    return $autosetup === 'payment' ? act($service->id, 'create', [], true) : '';
}

/** Cancelled or Fraud: the hook comes first, then the module, then the status (hooks-reference/shopping-cart.md). */
function end_order(int $order, string $status): array
{
    run_hook($status === 'Fraud' ? 'FraudOrder' : 'CancelOrder', ['orderid' => $order]);
    $answers = [];
    foreach (Capsule::table('tblhosting')->where('orderid', $order)->get() as $service) {
        if (in_array($service->domainstatus, ['Active', 'Suspended'], true)) {
            $answers[$service->id] = act($service->id, 'terminate', [], true);
        }
        Capsule::table('tblhosting')->where('id', $service->id)->update(['domainstatus' => $status]);
    }
    Capsule::table('tblorders')->where('id', $order)->update(['status' => $status]);
    return ['answers' => (object) $answers];
}

/** The upgrade page of the client area; what it answers is shown to the client and nothing is charged. */
function validate_upgrade(int $service, int $pid): array
{
    return array_merge([], ...run_hook('ShoppingCartValidateUpgrade', ['id' => $service, 'pid' => $pid]));
}

/** An upgrade that was paid: to another product, or of configurable options. */
function upgrade(int $serviceId, ?int $pid, array $options): array
{
    $service = Capsule::table('tblhosting')->find($serviceId);
    $upgrade = Capsule::table('tblupgrades')->insertGetId([
        'userid' => $service->userid, 'type' => $pid ? 'package' : 'configoptions', 'date' => date('Y-m-d'),
        'relid' => $serviceId, 'originalvalue' => (string) $service->packageid, 'newvalue' => (string) $pid,
        'paid' => 'Y',
    ]);
    if ($pid) {
        Capsule::table('tblhosting')->where('id', $serviceId)->update(['packageid' => $pid]);
    }
    choose($serviceId, $options);
    $answer = act($serviceId, 'changepackage', [], true);
    Capsule::table('tblupgrades')->where('id', $upgrade)->update(['status' => 'Completed']);
    run_hook($pid ? 'AfterProductUpgrade' : 'AfterConfigOptionsUpgrade', ['upgradeid' => $upgrade]);
    return ['answer' => $answer, 'upgradeid' => $upgrade];
}

/** An admin deletes the service; the hook comes afterwards (hooks-reference/service.md). */
function delete_service(int $id): void
{
    $service = Capsule::table('tblhosting')->find($id);
    Capsule::table('tblcustomfieldsvalues')->where('relid', $id)->delete();
    Capsule::table('tblhostingconfigoptions')->where('relid', $id)->delete();
    Capsule::table('tblhosting')->where('id', $id)->delete();
    run_hook('ServiceDelete', ['userid' => $service->userid, 'clientId' => $service->userid, 'serviceid' => $id]);
}

/**
 * One run of the system cron: due suspensions, unsuspensions and terminations, then the hooks.
 *
 * @return array what the module said, by service
 */
function cron(array $suspend, array $unsuspend, array $terminate, bool $daily): array
{
    $answers = [];
    foreach ($suspend as $id) {
        $answers[$id] = act($id, 'suspend', ['suspendreason' => 'Overdue on Payment'], true);
    }
    foreach ($unsuspend as $id) {
        $answers[$id] = act($id, 'unsuspend', [], true);
    }
    foreach ($terminate as $id) {
        $answers[$id] = act($id, 'terminate', [], true);
    }
    if ($daily) {
        run_hook('DailyCronJob', []);
    }
    run_hook('AfterCronJob', []);
    return ['answers' => (object) $answers];
}
