<?php
// The classes of WHMCS that its developer documentation shows to modules.

namespace WHMCS\Database {
    class Capsule extends \Illuminate\Database\Capsule\Manager
    {
    }
}

namespace WHMCS\Service {
    use WHMCS\Database\Capsule;

    class Status
    {
        const PENDING = 'Pending';
        const ACTIVE = 'Active';
        const SUSPENDED = 'Suspended';
        const TERMINATED = 'Terminated';
        const CANCELLED = 'Cancelled';
        const FRAUD = 'Fraud';
        const COMPLETED = 'Completed';
    }

    /** `$params['model']` (provisioning-modules/service-properties.md). */
    class Service extends \Illuminate\Database\Eloquent\Model
    {
        protected $table = 'tblhosting';
        public $timestamps = false;

        public function getServicePropertiesAttribute(): Properties
        {
            return new Properties($this->id, $this->packageid);
        }
    }

    class Properties
    {
        private const COLUMNS = ['Username' => 'username', 'Domain' => 'domain', 'License Key' => 'domain',
            'Dedicated IP' => 'dedicatedip', 'Disk Usage' => 'diskusage', 'Disk Limit' => 'disklimit',
            'Bandwidth Usage' => 'bwusage', 'Bandwidth Limit' => 'bwlimit', 'Last Update' => 'lastupdate'];

        private int $service;
        private int $product;

        public function __construct(int $service, int $product)
        {
            $this->service = $service;
            $this->product = $product;
        }

        public function get(string $name): string
        {
            $row = Capsule::table('tblhosting')->find($this->service);
            if ($name === 'Password') {
                return decrypt($row->password);
            }
            if (isset(self::COLUMNS[$name])) {
                return (string) $row->{self::COLUMNS[$name]};
            }
            $field = $this->field($name);
            return $field === null ? '' : (string) $this->values($field)->value('value');
        }

        /** @param array<string, string> $values */
        public function save(array $values): void
        {
            foreach ($values as $name => $value) {
                $column = $name === 'Password' ? 'password' : (self::COLUMNS[$name] ?? '');
                if ($column !== '') {
                    $stored = $name === 'Password' ? encrypt($value) : $value;
                    Capsule::table('tblhosting')->where('id', $this->service)->update([$column => $stored]);
                    continue;
                }
                $field = $this->field($name) ?? Capsule::table('tblcustomfields')->insertGetId([
                    'type' => 'product', 'relid' => $this->product, 'fieldname' => $name, 'adminonly' => 'on',
                ]);
                Capsule::table('tblcustomfieldsvalues')
                    ->updateOrInsert(['fieldid' => $field, 'relid' => $this->service], ['value' => $value]);
            }
        }

        private function field(string $name): ?int
        {
            foreach (\StandIn\custom_fields($this->product) as $field) {
                if (\StandIn\key_of($field->fieldname) === $name) {
                    return $field->id;
                }
            }
            return null;
        }

        private function values(int $field)
        {
            return Capsule::table('tblcustomfieldsvalues')->where(['fieldid' => $field, 'relid' => $this->service]);
        }
    }
}

namespace WHMCS\Product {
    class Product extends \Illuminate\Database\Eloquent\Model
    {
        protected $table = 'tblproducts';
        public $timestamps = false;
    }
}

namespace WHMCS\User {
    class Person extends \Illuminate\Database\Eloquent\Model
    {
        public $timestamps = false;

        public function getFullNameAttribute(): string
        {
            return trim("$this->firstname $this->lastname");
        }
    }

    class Admin extends Person
    {
        protected $table = 'tbladmins';
    }

    class Client extends Person
    {
        protected $table = 'tblclients';
    }

    class User extends Person
    {
        protected $table = 'tblclients';
    }
}

namespace WHMCS\Authentication {
    use WHMCS\User\Admin;
    use WHMCS\User\Client;
    use WHMCS\User\User;

    /** advanced/authentication.md */
    class CurrentUser
    {
        public function isAuthenticatedUser(): bool
        {
            return !empty($_SESSION['uid']);
        }

        public function isAuthenticatedAdmin(): bool
        {
            return !empty($_SESSION['adminid']);
        }

        public function isMasqueradingAdmin(): bool
        {
            return $this->isAuthenticatedAdmin() && $this->isAuthenticatedUser();
        }

        public function user(): ?User
        {
            return $this->isAuthenticatedUser() ? User::find($_SESSION['uid']) : null;
        }

        public function admin(): ?Admin
        {
            return $this->isAuthenticatedAdmin() ? Admin::find($_SESSION['adminid']) : null;
        }

        public function client(): ?Client
        {
            return $this->isAuthenticatedUser() ? Client::find($_SESSION['uid']) : null;
        }
    }
}

namespace WHMCS\Config {
    class Setting
    {
        public static function getValue(string $name): string
        {
            return \StandIn\setting($name);
        }

        public static function setValue(string $name, string $value): void
        {
            \StandIn\set_setting($name, $value);
        }
    }
}
