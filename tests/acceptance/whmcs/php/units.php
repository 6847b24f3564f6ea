<?php
// Runs parts of the drop-in by themselves, inside a stand-in for WHMCS: php units.php ROOT, the request on stdin.

use WHMCS\Database\Capsule;
use WHMCS\Module\Server\Provisioner\Choices;
use WHMCS\Module\Server\Provisioner\Problem;
use WHMCS\Module\Server\Provisioner\Signature;
use WHMCS\Module\Server\Provisioner\Spec;
use WHMCS\Module\Server\Provisioner\Store;
use WHMCS\Module\Server\Provisioner\Write;

define('CLIENTAREA', true);
require $argv[1] . '/init.php';
require_once $argv[1] . '/modules/servers/provisioner/lib/load.php';

$units = [
    'sign' => fn (array $a) => (new Signature($a['secret']))->headers($a['id'], $a['timestamp'], $a['body']),
    'ids' => fn (array $a) => array_map(fn () => Signature::newId(), range(1, $a['count'])),
    'choices' => fn (array $a) => array_map(function (array $chosen) use ($a) {
        return (object) Choices::of($chosen, Choices::ofProduct($a['pid']));
    }, $a['configoptions']),
    'spec' => function (array $a) {
        $spec = Spec::of($a['plan'], $a['template'] ?? '', $a['choices'], fn () => $a['values']);
        return ['template' => $spec->template, 'options' => (object) $spec->options];
    },
    // Each in a service of its own state; the calls of WHMCS's API that it made, and the password that is then there.
    'write_all' => fn (array $a) => array_map(function (array $vector): array {
        $before = $vector['before'];
        foreach (['tblhosting' => $before['id'], 'tblclients' => $before['userid']] as $table => $id) {
            Capsule::table($table)->where('id', $id)->delete();
        }
        Capsule::table('tblclients')->insert(['id' => $before['userid'], 'email' => 'ada@example.com']);
        Capsule::table('tblticketdepartments')->updateOrInsert(['id' => $vector['settings']['ticket_department']], ['name' => 'Support']);
        Capsule::table('tblhosting')->insert(['packageid' => 1, 'server' => 1, 'password' => encrypt($before['password'])] + $before);
        Capsule::table(Store::MARKS)->delete();
        Capsule::table('standin_calls')->delete();
        $item = ['id' => 'd1', 'type' => $vector['delivery']['type'], 'data' => $vector['delivery']['data'], 'latest' => $vector['latest']];
        (new Write($item, $vector['settings']))->make();
        $calls = Capsule::table('standin_calls')->where('action', '!=', 'GetClientsProducts')->orderBy('id')->get(['action', 'params']);
        return [
            'calls' => $calls->map(fn ($call) => [$call->action, json_decode($call->params)])->all(),
            'password' => decrypt(Capsule::table('tblhosting')->where('id', $before['id'])->value('password')),
        ];
    }, $a['vectors']),
    'installations' => fn (array $a) => array_map(fn () => Store::installation(), range(1, $a['count'])),
    'facts' => function (array $a) {
        foreach ($a['remember'] as $name => $value) {
            Store::remember($name, $value);
        }
        return Store::fact($a['ask']);
    },
];
[$unit, $arguments] = json_decode(stream_get_contents(STDIN), true, 64, JSON_THROW_ON_ERROR);
try {
    echo json_encode(['answer' => $units[$unit]($arguments)], JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE);
} catch (Problem $problem) {
    echo json_encode(['problem' => $problem->getMessage()], JSON_THROW_ON_ERROR);
}
