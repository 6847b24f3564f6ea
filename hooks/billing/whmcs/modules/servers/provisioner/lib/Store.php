<?php

namespace WHMCS\Module\Server\Provisioner;

use Illuminate\Database\QueryException;
use WHMCS\Database\Capsule;

/**
 * What the module keeps in WHMCS's database: facts by name, pending events, deliveries written with marks of what
 * must not be done twice, and the services it has to do with. Two processes may work at once: unique keys decide,
 * nothing is read and then written.
 */
final class Store
{
    public const FACTS = 'mod_provisioner_facts';
    public const EVENTS = 'mod_provisioner_events';
    public const DELIVERIES = 'mod_provisioner_deliveries';
    public const MARKS = 'mod_provisioner_marks';
    public const SERVICES = 'mod_provisioner_services';

    /** @var bool whether the tables were seen in this request */
    private static $there = false;

    /**
     * Runs what reads or writes the tables, which are made where they are missing.
     *
     * @param callable(): mixed $work
     * @return mixed what it returns
     * @throws Problem if the database does not let it
     */
    public static function with(callable $work)
    {
        try {
            self::make();
            return $work();
        } catch (QueryException $refused) {
            self::$there = false;
            throw new Problem(
                'The tables mod_provisioner_… in WHMCS\'s database could not be made, read or written, so nothing'
                . ' was sent; let WHMCS\'s database user create and change tables, then try again.'
            );
        }
    }

    /** A random id, made once for this WHMCS; a copy has it too, but under another System URL. */
    public static function installation(): string
    {
        $url = (string) Capsule::table('tblconfiguration')->where('setting', 'SystemURL')->value('value');
        $id = self::once('installation', static fn () => bin2hex(random_bytes(8)));
        $url = (string) preg_replace('/[^\x21-\x7e]+/', '', $url);
        return substr($url, 0, 480) . '#' . $id;
    }

    /** What is known by a name, null where nothing is. */
    public static function fact(string $name): ?string
    {
        return self::with(static function () use ($name): ?string {
            $value = Capsule::table(self::FACTS)->where('name', $name)->value('value');
            return $value === null ? null : (string) $value;
        });
    }

    public static function remember(string $name, string $value): void
    {
        self::with(static function () use ($name, $value): void {
            if (!self::insert(self::FACTS, ['name' => $name, 'value' => $value])) {
                Capsule::table(self::FACTS)->where('name', $name)->update(['value' => $value]);
            }
        });
    }

    public static function forget(string $name): void
    {
        self::with(static function () use ($name): void {
            Capsule::table(self::FACTS)->where('name', $name)->delete();
        });
    }

    /**
     * What is known by a name; where nothing is, what the first process made.
     *
     * @param callable(): string $make
     */
    public static function once(string $name, callable $make): string
    {
        $known = self::fact($name);
        if ($known !== null) {
            return $known;
        }
        return self::with(static function () use ($name, $make): string {
            self::insert(self::FACTS, ['name' => $name, 'value' => $make()]);
            return (string) self::fact($name);
        });
    }

    /**
     * @param array<string, mixed> $row
     * @return bool false where a unique key says that it is there already
     * @throws QueryException if the database refused it for another reason
     */
    public static function insert(string $table, array $row): bool
    {
        try {
            Capsule::table($table)->insert($row);
            return true;
        } catch (QueryException $refused) {
            $words = $refused->getPrevious() === null ? '' : $refused->getPrevious()->getMessage();
            if (preg_match('/Duplicate entry|UNIQUE constraint/', $words) === 1) { // MySQL's words, and SQLite's
                return false;
            }
            throw $refused;
        }
    }

    /**
     * Notes that the module has to do with a service, for the hooks that run when WHMCS has forgotten it.
     *
     * @param string|null $generated digest of the password that WHMCS generated for an order; null: as it was
     */
    public static function rememberService(int $serviceId, int $serverId, ?string $generated = null): void
    {
        self::with(static function () use ($serviceId, $serverId, $generated): void {
            $row = ['service_id' => $serviceId, 'server_id' => $serverId, 'generated' => (string) $generated];
            if (!self::insert(self::SERVICES, $row)) {
                $changed = $generated === null ? ['server_id' => $serverId] : $row;
                Capsule::table(self::SERVICES)->where('service_id', $serviceId)->update($changed);
            }
        });
    }

    /** What was noted of a service. */
    public static function service(int $serviceId): ?\stdClass
    {
        return self::with(static function () use ($serviceId): ?\stdClass {
            $row = Capsule::table(self::SERVICES)->where('service_id', $serviceId)->first();
            return $row === null ? null : (object) (array) $row;
        });
    }

    private static function make(): void
    {
        if (self::$there) {
            return;
        }
        foreach (self::tables() as $name => $columns) {
            if (!Capsule::schema()->hasTable($name)) {
                self::create($name, $columns);
            }
        }
        self::$there = true;
    }

    private static function create(string $name, callable $columns): void
    {
        try {
            Capsule::schema()->create($name, $columns);
        } catch (QueryException $refused) {
            if (!Capsule::schema()->hasTable($name)) { // another process was not faster
                throw $refused;
            }
        }
    }

    /** @return array<string, callable> */
    private static function tables(): array
    {
        return [
            self::FACTS => static function ($table): void {
                $table->string('name', 120)->primary();
                $table->longText('value');
            },
            self::SERVICES => static function ($table): void {
                $table->unsignedBigInteger('service_id')->primary();
                $table->unsignedBigInteger('server_id');
                $table->string('generated', 64); // digest of the password that WHMCS generated, '' for none
            },
            // `slot` is '' for what is being sent or was refused, of which there is one of a kind; a spooled event,
            // of which there may be several alike, has its own webhook-id there. The order is that of `id`.
            self::EVENTS => static function ($table): void {
                $table->bigIncrements('id');
                $table->unsignedBigInteger('service_id');
                $table->unsignedBigInteger('server_id');
                $table->string('type', 40);
                $table->string('digest', 64);
                $table->string('slot', 36);
                $table->string('webhook_id', 36)->unique('mod_provisioner_webhook_id');
                $table->string('state', 10);
                $table->longText('body');
                $table->text('error');
                $table->unsignedBigInteger('made_at');
                $table->unsignedBigInteger('tried_at');
                $table->unique(['service_id', 'type', 'digest', 'slot'], 'mod_provisioner_same_event');
            },
            self::DELIVERIES => static function ($table): void {
                $table->string('id', 120)->primary();
                $table->unsignedBigInteger('service_id');
                $table->text('error'); // what was last said of it in the activity log
                $table->unsignedBigInteger('written_at'); // 0 until all of it was done
            },
            self::MARKS => static function ($table): void {
                $table->string('name', 191)->primary();
                $table->text('value');
                $table->unsignedBigInteger('made_at');
            },
        ];
    }
}
