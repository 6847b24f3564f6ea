<?php
// The database: Illuminate's own Capsule, as in WHMCS, on SQLite where WHMCS has MySQL.

namespace StandIn;

use Illuminate\Database\Connection;
use Illuminate\Database\SQLiteConnection;
use WHMCS\Database\Capsule;

/** MySQL's locks come with the first row that is touched; SQLite's have to be asked for, or two writers collide. */
class ImmediatePdo extends \PDO
{
    private bool $open = false;

    public function beginTransaction(): bool
    {
        $this->exec('BEGIN IMMEDIATE');
        return $this->open = true;
    }

    public function commit(): bool
    {
        $this->exec('COMMIT');
        $this->open = false;
        return true;
    }

    public function rollBack(): bool
    {
        $this->exec('ROLLBACK');
        $this->open = false;
        return true;
    }

    public function inTransaction(): bool
    {
        return $this->open;
    }
}

/** MySQL's GET_LOCK and RELEASE_LOCK, by files: held until released or until the process has ended. */
class NamedLocks
{
    /** @var array<string, resource> */
    private array $held = [];

    public function take(string $name, float $seconds): int
    {
        $file = fopen(ROOTDIR . '/lock-' . md5($name), 'c');
        for ($until = microtime(true) + $seconds; !flock($file, LOCK_EX | LOCK_NB); usleep(10_000)) {
            if (microtime(true) >= $until) {
                return 0;
            }
        }
        $this->held[$name] = $file;
        return 1;
    }

    public function release(string $name): ?int
    {
        if (!isset($this->held[$name])) {
            return null;
        }
        flock($this->held[$name], LOCK_UN);
        unset($this->held[$name]);
        return 1;
    }
}

function open_database(string $file): void
{
    Connection::resolverFor('sqlite', function ($connect, $database, $prefix, $config) use ($file) {
        $pdo = new ImmediatePdo("sqlite:$file", null, null, [\PDO::ATTR_ERRMODE => \PDO::ERRMODE_EXCEPTION]);
        $pdo->exec('PRAGMA busy_timeout = 20000');
        $pdo->exec('PRAGMA journal_mode = WAL');
        $pdo->exec('PRAGMA synchronous = OFF');
        $locks = new NamedLocks();
        $pdo->sqliteCreateFunction('NOW', fn () => date('Y-m-d H:i:s'));
        $pdo->sqliteCreateFunction('UNIX_TIMESTAMP', 'time');
        $pdo->sqliteCreateFunction('GET_LOCK', fn ($name, $seconds) => $locks->take($name, (float) $seconds));
        $pdo->sqliteCreateFunction('RELEASE_LOCK', fn ($name) => $locks->release($name));
        return new SQLiteConnection($pdo, $database, $prefix, $config);
    });
    $capsule = new Capsule();
    $capsule->addConnection(['driver' => 'sqlite', 'database' => $file]);
    $capsule->setAsGlobal();
    $capsule->bootEloquent();
    if (!Capsule::schema()->hasTable('tblconfiguration')) {
        Capsule::connection()->getPdo()->exec(SCHEMA);
    }
}

/** The tables of WHMCS that matter here, with the columns that its documentation and its modules name. */
const SCHEMA = <<<'SQL'
CREATE TABLE tblconfiguration (id INTEGER PRIMARY KEY, setting TEXT UNIQUE, value TEXT);
CREATE TABLE tbladmins (id INTEGER PRIMARY KEY, roleid INT DEFAULT 1, username TEXT, firstname TEXT DEFAULT '',
  lastname TEXT DEFAULT '', email TEXT DEFAULT '', disabled INT DEFAULT 0);
CREATE TABLE tblclients (id INTEGER PRIMARY KEY, firstname TEXT DEFAULT '', lastname TEXT DEFAULT '',
  companyname TEXT DEFAULT '', email TEXT DEFAULT '', address1 TEXT DEFAULT '', city TEXT DEFAULT '',
  postcode TEXT DEFAULT '', country TEXT DEFAULT 'DE', phonenumber TEXT DEFAULT '', language TEXT DEFAULT '',
  status TEXT DEFAULT 'Active');
CREATE TABLE tblservergroups (id INTEGER PRIMARY KEY, name TEXT, filltype INT DEFAULT 1);
CREATE TABLE tblservergroupsrel (id INTEGER PRIMARY KEY, groupid INT, serverid INT);
CREATE TABLE tblservers (id INTEGER PRIMARY KEY, name TEXT DEFAULT '', ipaddress TEXT DEFAULT '',
  assignedips TEXT DEFAULT '', hostname TEXT DEFAULT '', maxaccounts INT DEFAULT 0, type TEXT DEFAULT '',
  username TEXT DEFAULT '', password TEXT DEFAULT '', accesshash TEXT DEFAULT '', secure TEXT DEFAULT '',
  port INT, active INT DEFAULT 1, disabled INT DEFAULT 0);
CREATE TABLE tblproductgroups (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE tblproducts (id INTEGER PRIMARY KEY, type TEXT DEFAULT 'server', gid INT DEFAULT 1,
  name TEXT DEFAULT '', description TEXT DEFAULT '', hidden INT DEFAULT 0, welcomeemail INT DEFAULT 0,
  allowqty INT DEFAULT 0, autosetup TEXT DEFAULT 'payment', servertype TEXT DEFAULT '', servergroup INT DEFAULT 0,
  configoptionsupgrade INT DEFAULT 1,
  configoption1 TEXT DEFAULT '', configoption2 TEXT DEFAULT '', configoption3 TEXT DEFAULT '',
  configoption4 TEXT DEFAULT '', configoption5 TEXT DEFAULT '', configoption6 TEXT DEFAULT '',
  configoption7 TEXT DEFAULT '', configoption8 TEXT DEFAULT '', configoption9 TEXT DEFAULT '',
  configoption10 TEXT DEFAULT '', configoption11 TEXT DEFAULT '', configoption12 TEXT DEFAULT '',
  configoption13 TEXT DEFAULT '', configoption14 TEXT DEFAULT '', configoption15 TEXT DEFAULT '',
  configoption16 TEXT DEFAULT '', configoption17 TEXT DEFAULT '', configoption18 TEXT DEFAULT '',
  configoption19 TEXT DEFAULT '', configoption20 TEXT DEFAULT '', configoption21 TEXT DEFAULT '',
  configoption22 TEXT DEFAULT '', configoption23 TEXT DEFAULT '', configoption24 TEXT DEFAULT '',
  overagesenabled TEXT DEFAULT '', retired INT DEFAULT 0);
CREATE TABLE tblproductconfiggroups (id INTEGER PRIMARY KEY, name TEXT, description TEXT DEFAULT '');
CREATE TABLE tblproductconfiglinks (id INTEGER PRIMARY KEY, gid INT, pid INT);
CREATE TABLE tblproductconfigoptions (id INTEGER PRIMARY KEY, gid INT, optionname TEXT, optiontype TEXT,
  qtyminimum INT DEFAULT 0, qtymaximum INT DEFAULT 0, "order" INT DEFAULT 0, hidden INT DEFAULT 0);
CREATE TABLE tblproductconfigoptionssub (id INTEGER PRIMARY KEY, configid INT, optionname TEXT,
  sortorder INT DEFAULT 0, hidden INT DEFAULT 0);
CREATE TABLE tblhostingconfigoptions (id INTEGER PRIMARY KEY, relid INT, configid INT, optionid INT,
  qty INT DEFAULT 0);
CREATE TABLE tblcustomfields (id INTEGER PRIMARY KEY, type TEXT, relid INT, fieldname TEXT,
  fieldtype TEXT DEFAULT 'text', description TEXT DEFAULT '', fieldoptions TEXT DEFAULT '', regexpr TEXT DEFAULT '',
  adminonly TEXT DEFAULT '', required TEXT DEFAULT '', showorder TEXT DEFAULT '', showinvoice TEXT DEFAULT '',
  sortorder INT DEFAULT 0);
CREATE TABLE tblcustomfieldsvalues (id INTEGER PRIMARY KEY, fieldid INT, relid INT, value TEXT DEFAULT '');
CREATE TABLE tblorders (id INTEGER PRIMARY KEY, ordernum INT, userid INT, date TEXT, status TEXT,
  invoiceid INT DEFAULT 0, amount TEXT DEFAULT '0.00', paymentmethod TEXT DEFAULT 'banktransfer');
-- MySQL gives no number twice, SQLite that of a deleted last row unless it is told not to.
CREATE TABLE tblhosting (id INTEGER PRIMARY KEY AUTOINCREMENT, userid INT, orderid INT DEFAULT 0, packageid INT, server INT DEFAULT 0,
  regdate TEXT, domain TEXT DEFAULT '', paymentmethod TEXT DEFAULT 'banktransfer', qty INT DEFAULT 1,
  firstpaymentamount TEXT DEFAULT '10.00', amount TEXT DEFAULT '10.00', billingcycle TEXT DEFAULT 'Monthly',
  nextduedate TEXT DEFAULT '0000-00-00', termination_date TEXT DEFAULT '0000-00-00',
  domainstatus TEXT DEFAULT 'Pending', username TEXT DEFAULT '', password TEXT DEFAULT '', notes TEXT DEFAULT '',
  subscriptionid TEXT DEFAULT '', promoid INT DEFAULT 0, suspendreason TEXT DEFAULT '',
  overideautosuspend TEXT DEFAULT '', overidesuspenduntil TEXT DEFAULT '0000-00-00', dedicatedip TEXT DEFAULT '',
  assignedips TEXT DEFAULT '', ns1 TEXT DEFAULT '', ns2 TEXT DEFAULT '', diskusage INT DEFAULT 0,
  disklimit INT DEFAULT 0, bwusage INT DEFAULT 0, bwlimit INT DEFAULT 0,
  lastupdate TEXT DEFAULT '0000-00-00 00:00:00');
CREATE TABLE tblupgrades (id INTEGER PRIMARY KEY, userid INT, orderid INT DEFAULT 0, type TEXT, date TEXT,
  relid INT, originalvalue TEXT, newvalue TEXT, status TEXT DEFAULT 'Pending', paid TEXT DEFAULT 'N');
CREATE TABLE tblemailtemplates (id INTEGER PRIMARY KEY, type TEXT, name TEXT, subject TEXT, message TEXT,
  disabled INT DEFAULT 0, custom INT DEFAULT 0, language TEXT DEFAULT '', plaintext INT DEFAULT 0);
CREATE TABLE tblemails (id INTEGER PRIMARY KEY, userid INT, subject TEXT, message TEXT, date TEXT, "to" TEXT,
  cc TEXT DEFAULT '', bcc TEXT DEFAULT '');
CREATE TABLE tblactivitylog (id INTEGER PRIMARY KEY, date TEXT, description TEXT, user TEXT DEFAULT '',
  userid INT DEFAULT 0, ipaddr TEXT DEFAULT '');
CREATE TABLE tblmodulelog (id INTEGER PRIMARY KEY, date TEXT, module TEXT, action TEXT, request TEXT, response TEXT,
  arrdata TEXT);
CREATE TABLE tblmodulequeue (id INTEGER PRIMARY KEY, service_type TEXT, service_id INT, module_name TEXT,
  module_action TEXT, last_attempt TEXT, last_attempt_error TEXT, num_retries INT DEFAULT 0, completed INT DEFAULT 0,
  created_at TEXT, updated_at TEXT);
CREATE TABLE tblticketdepartments (id INTEGER PRIMARY KEY, name TEXT, email TEXT DEFAULT '');
CREATE TABLE tbltickets (id INTEGER PRIMARY KEY, tid TEXT, did INT, userid INT DEFAULT 0, name TEXT DEFAULT '',
  email TEXT DEFAULT '', c TEXT, date TEXT, title TEXT, message TEXT, status TEXT DEFAULT 'Open', urgency TEXT,
  admin TEXT DEFAULT '', service TEXT DEFAULT '');
CREATE TABLE tblticketnotes (id INTEGER PRIMARY KEY, ticketid INT, admin TEXT DEFAULT '', date TEXT, message TEXT);
CREATE TABLE standin_mails (id INTEGER PRIMARY KEY, name TEXT, relid INT, recipient TEXT, subject TEXT, body TEXT);
CREATE TABLE standin_notifications (id INTEGER PRIMARY KEY, identifier TEXT, title TEXT, message TEXT, url TEXT,
  status TEXT, style TEXT, attributes TEXT);
CREATE TABLE standin_credentials (identifier TEXT PRIMARY KEY, secret TEXT, adminid INT, actions TEXT);
CREATE TABLE standin_calls (id INTEGER PRIMARY KEY, way TEXT, action TEXT, params TEXT, result TEXT);
SQL;

function setting(string $name): string
{
    return (string) Capsule::table('tblconfiguration')->where('setting', $name)->value('value');
}

function set_setting(string $name, string $value): void
{
    Capsule::table('tblconfiguration')->updateOrInsert(['setting' => $name], ['value' => $value]);
}
