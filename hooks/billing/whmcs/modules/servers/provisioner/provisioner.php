<?php

/*
 * Provisioner's server module for WHMCS. Every function is one line into lib/, where everything is caught.
 * PHP 7.4 or newer; no Composer packages.
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

require_once __DIR__ . '/lib/load.php';

use WHMCS\Module\Server\Provisioner\Actions;
use WHMCS\Module\Server\Provisioner\ClientPages;
use WHMCS\Module\Server\Provisioner\Entry;
use WHMCS\Module\Server\Provisioner\ServerPages;
use WHMCS\Module\Server\Provisioner\ServicePages;

function provisioner_MetaData()
{
    return ServerPages::metaData();
}

function provisioner_ConfigOptions($params = [])
{
    return ServerPages::productSettings();
}

function provisioner_PlanLoader($params)
{
    return ServerPages::plans($params);
}

function provisioner_TemplateLoader($params)
{
    return ServerPages::templates($params);
}

function provisioner_TestConnection(array $params)
{
    return ServerPages::test($params);
}

function provisioner_ListAccounts(array $params)
{
    return ServerPages::accounts($params);
}

function provisioner_CreateAccount(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->create());
}

function provisioner_SuspendAccount(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->suspend());
}

function provisioner_UnsuspendAccount(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->unsuspend());
}

function provisioner_TerminateAccount(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->terminate());
}

function provisioner_ChangePackage(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->change());
}

function provisioner_AdminCustomButtonArray()
{
    return [
        'Reboot' => 'reboot',
        'Start' => 'start',
        'Shutdown' => 'shutdown',
        'Stop' => 'stop',
        'Force reboot' => 'forceReboot',
        'Reinstall' => 'reinstall',
        'Reset root password' => 'resetPassword',
        'Backup' => 'backup',
        'Link existing VM' => 'link',
        'Send and fetch now' => 'sendAndFetch',
    ];
}

function provisioner_reboot(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->simple('service.reboot'));
}

function provisioner_start(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->simple('service.start'));
}

function provisioner_shutdown(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->simple('service.shutdown'));
}

function provisioner_stop(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->simple('service.stop'));
}

function provisioner_forceReboot(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->simple('service.force_reboot'));
}

function provisioner_reinstall(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->simple('service.reinstall'));
}

function provisioner_resetPassword(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->simple('service.reset_password'));
}

function provisioner_backup(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->simple('service.backup'));
}

function provisioner_link(array $params)
{
    return Entry::command($params, static fn (Actions $actions) => $actions->link());
}

function provisioner_sendAndFetch(array $params)
{
    return ServicePages::sendAndFetch($params);
}

function provisioner_AdminServicesTabFields(array $params)
{
    return ServicePages::forStaff($params);
}

function provisioner_ClientArea(array $params)
{
    return ClientPages::overview($params);
}

function provisioner_ServiceSingleSignOn(array $params)
{
    return ClientPages::signOn($params);
}

function provisioner_ClientAreaCustomButtonArray()
{
    return ClientPages::buttons();
}

function provisioner_clientReboot(array $params)
{
    return ClientPages::act($params, 'clientReboot');
}

function provisioner_clientStart(array $params)
{
    return ClientPages::act($params, 'clientStart');
}

function provisioner_clientShutdown(array $params)
{
    return ClientPages::act($params, 'clientShutdown');
}

function provisioner_clientReinstall(array $params)
{
    return ClientPages::act($params, 'clientReinstall');
}

function provisioner_clientResetPassword(array $params)
{
    return ClientPages::act($params, 'clientResetPassword');
}

function provisioner_clientBackup(array $params)
{
    return ClientPages::act($params, 'clientBackup');
}
