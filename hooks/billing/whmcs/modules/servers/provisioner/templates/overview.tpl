{* What a customer sees of a service; every value is escaped here. *}
<div class="provisioner-overview">
{if $state ne ''}
    <p><strong>{$state|escape:'html'}</strong></p>
{/if}
{if $notice ne ''}
    <p>{$notice|escape:'html'}</p>
{/if}
{if $percent !== null}
    <p><progress max="100" value="{$percent|escape:'html'}">{$percent|escape:'html'} %</progress></p>
{/if}
{if $hostname ne ''}
    <p>Host name: {$hostname|escape:'html'}</p>
{/if}
{if $ips}
    <p>IP addresses:</p>
    <ul>
{foreach $ips as $ip}
        <li>{$ip|escape:'html'}</li>
{/foreach}
    </ul>
{/if}
{if $panel}
    <p><a class="btn btn-primary" target="_blank" rel="noopener"
        href="clientarea.php?action=productdetails&amp;id={$service_id|escape:'url'}&amp;dosinglesignon=1">Manage server</a></p>
{/if}
{foreach $actions as $action}
    <form method="post" action="clientarea.php?action=productdetails" style="display: inline-block; margin: 0 4px 4px 0">
        <input type="hidden" name="token" value="{$token|escape:'html'}" />
        <input type="hidden" name="id" value="{$service_id|escape:'html'}" />
        <input type="hidden" name="modop" value="custom" />
        <input type="hidden" name="a" value="{$action.function|escape:'html'}" />
{if !$action.asks}
        <input type="hidden" name="confirmed" value="yes" />
{/if}
        <button type="submit" class="btn btn-default">{$action.label|escape:'html'}</button>
    </form>
{/foreach}
</div>
