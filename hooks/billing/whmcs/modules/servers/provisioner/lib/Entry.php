<?php

namespace WHMCS\Module\Server\Provisioner;

/** Through here WHMCS comes in: whatever goes wrong inside, its page gets one sentence. */
final class Entry
{
    /**
     * A module command.
     *
     * @param array<string, mixed> $params
     * @param callable(Actions): void $work
     * @return string 'success' or a sentence for staff
     */
    public static function command(array $params, callable $work): string
    {
        try {
            $work(new Actions($params));
            return 'success';
        } catch (\Throwable $problem) {
            return self::sentence($problem);
        }
    }

    /**
     * Anything else that has an answer of its own.
     *
     * @param callable(): mixed $work
     * @param callable(string): mixed $otherwise given the sentence, what to answer instead
     * @return mixed
     */
    public static function answer(callable $work, callable $otherwise)
    {
        try {
            return $work();
        } catch (\Throwable $problem) {
            return $otherwise(self::sentence($problem));
        }
    }

    /** What went wrong, for staff. An error that is not ours may quote what it handled, so only its place is told. */
    public static function sentence(\Throwable $problem): string
    {
        if ($problem instanceof Problem) {
            return $problem->getMessage();
        }
        $place = basename($problem->getFile()) . ':' . $problem->getLine();
        Log::activity('an error inside the module (' . get_class($problem) . ' at ' . $place . ').');
        return 'An error inside the provisioner module (' . get_class($problem) . ' at ' . $place . '); nothing else was done.';
    }

    /** The same for a customer. */
    public static function sentenceForCustomer(\Throwable $problem): string
    {
        $forStaff = self::sentence($problem);
        return $problem instanceof Problem ? $problem->forCustomer() : (new Problem($forStaff))->forCustomer();
    }
}
