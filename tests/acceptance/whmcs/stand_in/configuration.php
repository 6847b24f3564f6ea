<?php
$cc_encryption_hash = 'the hash of this installation';
