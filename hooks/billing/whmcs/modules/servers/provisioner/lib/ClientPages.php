<?php

namespace WHMCS\Module\Server\Provisioner;

/** What customers see and do. Their pages name neither technical errors nor who runs the servers. */
final class ClientPages
{
    private const PAGE_S = 3.0;

    /** function => event, label, whether it does harm, and what is asked before it */
    private const ACTIONS = [
        'clientReboot' => ['service.reboot', 'Reboot', false, 'Your server will be restarted.'],
        'clientStart' => ['service.start', 'Start', false, 'Your server will be started.'],
        'clientShutdown' => ['service.shutdown', 'Shut down', false,
            'Your server will be shut down and stays off until you start it.'],
        'clientReinstall' => ['service.reinstall', 'Reinstall', true,
            'Everything on your server will be erased for good, and it gets a new password.'],
        'clientResetPassword' => ['service.reset_password', 'Reset root password', true,
            'The root password of your server will be replaced by a new one.'],
        'clientBackup' => ['service.backup', 'Backup', false, 'A backup of your server will be made.'],
    ];

    /** @return array<string, string> label => function */
    public static function buttons(): array
    {
        $buttons = [];
        foreach (self::ACTIONS as $function => $action) {
            $buttons[$action[1]] = $function;
        }
        return $buttons;
    }

    /**
     * The overview of a service.
     *
     * @param array<string, mixed> $params
     * @return array<string, mixed>
     */
    public static function overview(array $params): array
    {
        try {
            $vars = self::state($params, Service::ofParams($params));
        } catch (\Throwable $problem) {
            $vars = ['state' => '', 'notice' => Entry::sentenceForCustomer($problem)];
        }
        return [
            'tabOverviewModuleOutputTemplate' => 'templates/overview.tpl',
            'templateVariables' => $vars + [
                'service_id' => (int) ($params['serviceid'] ?? 0),
                'state' => '', 'notice' => '', 'percent' => null, 'ips' => [], 'hostname' => '', 'actions' => [],
                'panel' => false,
            ],
        ];
    }

    /**
     * A link to the service's own panel, asked for at the click: it is good for two minutes.
     *
     * @param array<string, mixed> $params
     * @return array{success: bool, redirectTo?: string, errorMsg?: string}
     */
    public static function signOn(array $params): array
    {
        try {
            $service = Service::ofParams($params);
            $client = new Client(Server::ofParams($params), self::PAGE_S);
            $url = $client->query('panel.link', ['service_id' => (string) $service->id])['url'] ?? null;
            if (!is_string($url) || preg_match('~^https?://[^\s"<>\\\\]+$~D', $url) !== 1) {
                throw new Problem('Provisioner gave no link to the panel: look at its public_url.');
            }
            return ['success' => true, 'redirectTo' => $url];
        } catch (\Throwable $problem) {
            return ['success' => false, 'errorMsg' => Entry::sentenceForCustomer($problem)];
        }
    }

    /**
     * One of the buttons. A link or a click that was not confirmed gets a page that asks; only a form of ours, sent
     * with WHMCS's token, acts.
     *
     * @param array<string, mixed> $params
     * @return string|array<string, mixed> 'success', a sentence, or the page that asks
     */
    public static function act(array $params, string $function)
    {
        try {
            $service = Service::ofParams($params);
            if ($service->status !== 'Active') {
                return 'This is possible only while the service is active.';
            }
            if (($_SERVER['REQUEST_METHOD'] ?? '') !== 'POST' || ($_POST['confirmed'] ?? '') !== 'yes') {
                return self::question($service, $function);
            }
            self::refuseWithoutToken();
            (new Actions($params))->simple(self::ACTIONS[$function][0]);
            return 'success';
        } catch (\Throwable $problem) {
            return Entry::sentenceForCustomer($problem);
        }
    }

    /**
     * @param array<string, mixed> $params
     * @return array<string, mixed>
     */
    private static function state(array $params, Service $service): array
    {
        if ($service->status === 'Suspended') {
            return ['state' => Words::ofStatus('suspended'), 'ips' => $service->ips, 'notice' =>
                'This service is suspended, so its server is off and cannot be used. Please pay open invoices or contact'
                . ' support.'];
        }
        if (!in_array($service->status, ['Active', 'Pending'], true)) {
            return ['notice' => 'There is no server for this service at present.'];
        }
        $actions = $service->status === 'Active' ? self::offered() : [];
        try {
            $known = (new Client(Server::ofParams($params), self::PAGE_S))->service((string) $service->id);
        } catch (Unavailable $unavailable) {
            return ['ips' => $service->ips, 'actions' => $actions,
                'notice' => 'The state of your server cannot be shown right now. Please try again in a few minutes.'];
        }
        if (Outbox::waiting($service->id) !== []) {
            return ['state' => Words::ofStatus('pending'), 'notice' => 'Your request has been received.', 'ips' => $service->ips];
        }
        return $known === null
            ? ['notice' => 'There is no server for this service yet.', 'ips' => $service->ips]
            : self::shown($known, $service, $actions);
    }

    /**
     * @param array<string, mixed> $known service.show's answer
     * @param array<int, array<string, mixed>> $actions what an active one offers
     * @return array<string, mixed>
     */
    private static function shown(array $known, Service $service, array $actions): array
    {
        $status = (string) ($known['status'] ?? '');
        $operation = is_array($known['operation'] ?? null) ? $known['operation'] : [];
        $open = in_array($operation['state'] ?? '', ['queued', 'running', 'waiting', 'held', 'delivering'], true);
        $ips = array_values(array_filter(is_array($known['ips'] ?? null) ? $known['ips'] : [], 'is_string'));
        $vars = [
            'state' => Words::ofStatus($status),
            'ips' => $ips === [] ? $service->ips : $ips,
            'hostname' => is_string($known['hostname'] ?? null) ? $known['hostname'] : '',
            'notice' => $open ? (string) ($operation['message'] ?? '') : '',
            'percent' => $open ? (int) round(100 * (float) ($operation['progress'] ?? 0)) : null,
            'panel' => in_array($status, ['pending', 'active', 'suspended'], true),
        ];
        if ($status === 'active') {
            return $vars + ['actions' => $actions];
        }
        if ($status === 'suspended') {
            return ['notice' => 'Your server is suspended and cannot be used. Please contact support.'] + $vars;
        }
        return $status === 'failed' && !$open
            ? ['notice' => 'Your server could not be set up yet. Our staff has been told.'] + $vars
            : $vars;
    }

    /** @return array<int, array{function: string, label: string, asks: bool}> */
    private static function offered(): array
    {
        $offered = [];
        foreach (self::ACTIONS as $function => $action) {
            $offered[] = ['function' => $function, 'label' => $action[1], 'asks' => $action[2]];
        }
        return $offered;
    }

    /** @return array<string, mixed> */
    private static function question(Service $service, string $function): array
    {
        return [
            'templatefile' => 'templates/confirm',
            'breadcrumb' => ['clientarea.php?action=productdetails&id=' . $service->id => self::ACTIONS[$function][1]],
            'vars' => [
                'service_id' => $service->id,
                'function' => $function,
                'label' => self::ACTIONS[$function][1],
                'harm' => self::ACTIONS[$function][2],
                'question' => self::ACTIONS[$function][3],
            ],
        ];
    }

    /**
     * WHMCS ends the request itself where the token is wrong; where it has no tokens, nothing that a foreign page
     * could have sent is done.
     *
     * @throws Problem
     */
    private static function refuseWithoutToken(): void
    {
        if (!function_exists('check_token') || check_token('WHMCS.default') === false) {
            throw new Problem('The form\'s token was missing or wrong.', 'Please go back, reload the page and try again.');
        }
    }
}
