{* Asks before an action; only this form, with WHMCS's token, carries it out. *}
<div class="provisioner-confirm">
    <h3>{$label|escape:'html'}</h3>
    <p{if $harm} class="alert alert-danger"{/if}>{$question|escape:'html'}</p>
    <form method="post" action="clientarea.php?action=productdetails">
        <input type="hidden" name="token" value="{$token|escape:'html'}" />
        <input type="hidden" name="id" value="{$service_id|escape:'html'}" />
        <input type="hidden" name="modop" value="custom" />
        <input type="hidden" name="a" value="{$function|escape:'html'}" />
        <input type="hidden" name="confirmed" value="yes" />
        <button type="submit" class="btn btn-{if $harm}danger{else}primary{/if}">{$label|escape:'html'}</button>
        <a class="btn btn-default" href="clientarea.php?action=productdetails&amp;id={$service_id|escape:'url'}">Cancel</a>
    </form>
</div>
