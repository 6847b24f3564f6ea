BEGIN TRANSACTION;
CREATE TABLE brake_passages (
    kind TEXT NOT NULL,
    operation TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (kind, operation)
);
INSERT INTO "brake_passages" VALUES('create','op_ca58912193c07217b914',1795000000000);
INSERT INTO "brake_passages" VALUES('create','op_269e0b3d2f67e3fd25f8',1795000002000);
INSERT INTO "brake_passages" VALUES('suspend','op_54d3e77dd4042e4a5dca',1795000062000);
INSERT INTO "brake_passages" VALUES('create','op_a627ad6cd1c605e31777',1795000063000);
INSERT INTO "brake_passages" VALUES('terminate','op_04813d37bdb8ed0e02a0',1795000123000);
INSERT INTO "brake_passages" VALUES('create','op_5c5de10d8e5e84c0036a',1795000243000);
INSERT INTO "brake_passages" VALUES('create','op_22bbcb7dca61feed3da4',1795000363000);
CREATE TABLE credentials (
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    version TEXT NOT NULL,
    sealed TEXT NOT NULL,
    PRIMARY KEY (billing, service_id)
);
INSERT INTO "credentials" VALUES('shop','1006','cred_ed6179727a36b04a7333','gAAAAABrBycPoXZNASAM73Rnq8sT-Rr0i9uyGcoACQo6CR0S-iVc4qrfv2KpvzYEmvv3zZD0r50M13ZDEa20v5vECPepnmkMCplr5shHi7iaOBUt4YC37NYnCeWZn6qKg1LNJ5UWxz-jch_VP2hKpcva80wuVRuowaB6dfrJA7tc-ZIyWlPFEImha83iZdCEKJNtkV13EJDz');
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,               -- the webhook-id it is sent under
    seq BIGINT NOT NULL UNIQUE,
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    operation TEXT NOT NULL,           -- '' where none was
    concludes INTEGER NOT NULL CHECK (concludes IN (0, 1)),  -- its end is the operation's end
    type TEXT NOT NULL,
    data TEXT NOT NULL,                -- JSON, without credentials
    with_credentials INTEGER NOT NULL CHECK (with_credentials IN (0, 1)),
    credentials_version TEXT NOT NULL, -- taken at the first try, '' before
    sealed TEXT NOT NULL,              -- those credentials, '' before and after
    state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'given_up')),
    attempts BIGINT NOT NULL,
    claims BIGINT NOT NULL,
    next_run_at BIGINT NOT NULL,
    failing_since BIGINT,
    last_error TEXT NOT NULL,
    hooks_due INTEGER NOT NULL CHECK (hooks_due IN (0, 1)),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO "deliveries" VALUES('msg_42bc57306e23c5f46c89',1,'shop','1001','op_ca58912193c07217b914',1,'service.provisioned','{"service_id": "1001", "operation": "op_ca58912193c07217b914", "status": "active", "vmid": 4001, "ips": ["192.0.2.1"], "username": "root", "hostname": "web1.example.com", "warnings": []}',1,'cred_ef61a79ef9499d514982','','done',1,1,1795000122000,NULL,'',0,1795000002000,1795000002000);
INSERT INTO "deliveries" VALUES('msg_fcfb855fcfcd31361667',2,'shop','1001','op_14589da6894f86496ebf',1,'service.action','{"service_id": "1001", "operation": "op_14589da6894f86496ebf", "status": "active", "action": "set_rdns"}',0,'','','done',1,1,1795000122000,NULL,'',0,1795000002000,1795000002000);
INSERT INTO "deliveries" VALUES('msg_55003d2f6b0edbf90bfa',3,'shop','1002','op_269e0b3d2f67e3fd25f8',1,'service.provisioned','{"service_id": "1002", "operation": "op_269e0b3d2f67e3fd25f8", "status": "active", "vmid": 4002, "ips": ["192.0.2.2"], "username": "root", "hostname": null, "warnings": []}',1,'cred_c6b97fb8ec42192aa2f2','','done',1,1,1795000124000,NULL,'',0,1795000004000,1795000004000);
INSERT INTO "deliveries" VALUES('msg_21cefa60cc8375a970c2',4,'shop','1002','op_54d3e77dd4042e4a5dca',1,'service.suspended','{"service_id": "1002", "operation": "op_54d3e77dd4042e4a5dca", "status": "suspended", "reason": "overdue"}',0,'','','done',1,1,1795000183000,NULL,'',0,1795000063000,1795000063000);
INSERT INTO "deliveries" VALUES('msg_b2b0c2399a9270c11b3f',5,'shop','1003','op_a627ad6cd1c605e31777',1,'service.provisioned','{"service_id": "1003", "operation": "op_a627ad6cd1c605e31777", "status": "active", "vmid": 4003, "ips": ["192.0.2.3"], "username": "root", "hostname": null, "warnings": []}',1,'cred_f25becb47461036f76a1','','done',1,1,1795000185000,NULL,'',0,1795000065000,1795000065000);
INSERT INTO "deliveries" VALUES('msg_a22d8832546efe0eb8c0',6,'shop','1004','op_5c5de10d8e5e84c0036a',1,'service.provisioned','{"service_id": "1004", "operation": "op_5c5de10d8e5e84c0036a", "status": "active", "vmid": 4004, "ips": ["192.0.2.4"], "username": "root", "hostname": null, "warnings": []}',1,'cred_4a0f651232f53e7265d1','','done',1,1,1795000365000,NULL,'',0,1795000245000,1795000245000);
INSERT INTO "deliveries" VALUES('msg_31fba92f1f7c4213f577',7,'shop','1004','op_b37bc619bd4872f9336a',0,'operation.failed','{"service_id": "1004", "operation": "op_b37bc619bd4872f9336a", "status": "active", "kind": "change", "error": {"code": "disk_smaller", "message": "A disk cannot be made smaller."}, "retryable": true}',0,'','','done',1,1,1795000423000,NULL,'',0,1795000303000,1795000303000);
INSERT INTO "deliveries" VALUES('msg_326a50ce0f82b71ed4ac',8,'shop','1006','op_22bbcb7dca61feed3da4',1,'service.provisioned','{"service_id": "1006", "operation": "op_22bbcb7dca61feed3da4", "status": "active", "vmid": 4005, "ips": ["192.0.2.5"], "username": "root", "hostname": null, "warnings": []}',1,'cred_ed6179727a36b04a7333','gAAAAABrBycPoXZNASAM73Rnq8sT-Rr0i9uyGcoACQo6CR0S-iVc4qrfv2KpvzYEmvv3zZD0r50M13ZDEa20v5vECPepnmkMCplr5shHi7iaOBUt4YC37NYnCeWZn6qKg1LNJ5UWxz-jch_VP2hKpcva80wuVRuowaB6dfrJA7tc-ZIyWlPFEImha83iZdCEKJNtkV13EJDz','waiting',5,5,1795000423880,1795000365000,'POST http://127.0.0.1:42923/provisioning: Connection refused',0,1795000365000,1795000391306);
CREATE TABLE events (
    id TEXT PRIMARY KEY,
    seq BIGINT NOT NULL UNIQUE,
    billing TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('accepted', 'rejected')),
    type TEXT NOT NULL,
    service_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    digest TEXT NOT NULL,              -- of type and data: the same id with another meaning is refused
    body TEXT NOT NULL,
    answer TEXT NOT NULL,              -- the body answered, word for word
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    installation TEXT NOT NULL,
    actor TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    UNIQUE (billing, webhook_id)
);
INSERT INTO "events" VALUES('evt_933b92331509535c9cc6',1,'shop','evt-1','accepted','order.paid','1001','op_ca58912193c07217b914','bcd41d98df0b7112fb24f1dc52fd8d8906feb9a198b05bdd8a457a51050d1d8e','{"type": "order.paid", "data": {"service_id": "1001", "plan": "vps-s", "hostname": "web1.example.com", "client": {"id": "7"}}}','{"event": "evt_933b92331509535c9cc6", "operation": "op_ca58912193c07217b914", "status_url": "http://127.0.0.1:8080/api/operations/op_ca58912193c07217b914"}','','','','billing:shop',1795000000000);
INSERT INTO "events" VALUES('evt_9e64e8f765579ec76689',2,'shop','evt-2','accepted','order.paid','1002','op_269e0b3d2f67e3fd25f8','a61adbdbd89a28b558b58a0e8c2611607a04e1f94c7a082a15d9c0485e5ec059','{"type": "order.paid", "data": {"service_id": "1002", "plan": "vps-s"}}','{"event": "evt_9e64e8f765579ec76689", "operation": "op_269e0b3d2f67e3fd25f8", "status_url": "http://127.0.0.1:8080/api/operations/op_269e0b3d2f67e3fd25f8"}','','','','billing:shop',1795000002000);
INSERT INTO "events" VALUES('evt_539f1a179ac9be2299ff',3,'shop','evt-3','accepted','service.suspend','1002','op_54d3e77dd4042e4a5dca','8787129a20aa11c155e2c85834d8d8730001b1b84e4f34b19a609a11624c66be','{"type": "service.suspend", "data": {"service_id": "1002", "reason": "overdue", "lock": true}}','{"event": "evt_539f1a179ac9be2299ff", "operation": "op_54d3e77dd4042e4a5dca", "status_url": "http://127.0.0.1:8080/api/operations/op_54d3e77dd4042e4a5dca"}','','','','billing:shop',1795000062000);
INSERT INTO "events" VALUES('evt_c2e2b4ae8c6f6f53c251',4,'shop','evt-4','accepted','order.paid','1003','op_a627ad6cd1c605e31777','ddbe14a458f1180c709e60e8416af68cb1820e32ef9f28b3518a8f531bfed8e8','{"type": "order.paid", "data": {"service_id": "1003", "plan": "vps-s"}}','{"event": "evt_c2e2b4ae8c6f6f53c251", "operation": "op_a627ad6cd1c605e31777", "status_url": "http://127.0.0.1:8080/api/operations/op_a627ad6cd1c605e31777"}','','','','billing:shop',1795000063000);
INSERT INTO "events" VALUES('evt_bf5844b77818fad6de51',5,'shop','evt-5','accepted','service.terminate','1003','op_04813d37bdb8ed0e02a0','33a6bc08e71857dc1981507fac7308bf778b90ae4652f5e9af32a0141b3a66fa','{"type": "service.terminate", "data": {"service_id": "1003"}}','{"event": "evt_bf5844b77818fad6de51", "operation": "op_04813d37bdb8ed0e02a0", "status_url": "http://127.0.0.1:8080/api/operations/op_04813d37bdb8ed0e02a0"}','','','','billing:shop',1795000123000);
INSERT INTO "events" VALUES('evt_ce66777d5d4554875195',6,'shop','evt-6','accepted','order.paid','1004','op_5c5de10d8e5e84c0036a','a1c30624e1718e72b355b41117d5475874cbd7524d0b909748625c8187517d4c','{"type": "order.paid", "data": {"service_id": "1004", "plan": "vps-l"}}','{"event": "evt_ce66777d5d4554875195", "operation": "op_5c5de10d8e5e84c0036a", "status_url": "http://127.0.0.1:8080/api/operations/op_5c5de10d8e5e84c0036a"}','','','','billing:shop',1795000243000);
INSERT INTO "events" VALUES('evt_c60f4acf5e378fa5a6df',7,'shop','evt-7','accepted','service.upgrade','1004','op_b37bc619bd4872f9336a','44d38983f2fbf771165e42d09e6b227f3ad3247e4003233cee6784a144df6b73','{"type": "service.upgrade", "data": {"service_id": "1004", "options": {"disk": "20G"}}}','{"event": "evt_c60f4acf5e378fa5a6df", "operation": "op_b37bc619bd4872f9336a", "status_url": "http://127.0.0.1:8080/api/operations/op_b37bc619bd4872f9336a"}','','','','billing:shop',1795000303000);
INSERT INTO "events" VALUES('evt_5ec5808d84fa931a88cc',8,'shop','evt-rejected','rejected','order.paid','1009','','37fe5a8b12bd3b399bbd8c397231982e0469244c1fe3f181ae399704e1b1b3c5','{"type": "order.paid", "data": {"service_id": "1009", "plan": "gone"}}','{"error": {"code": "unknown_plan", "message": "data.plan: there is no plan ''gone'' for this billing system"}, "event": "evt_5ec5808d84fa931a88cc"}','unknown_plan','plan ''gone'' is not in the settings, or not in `plans` of [billing.shop]','','billing:shop',1795000363000);
INSERT INTO "events" VALUES('evt_f4c6b5c284abfe274cce',9,'shop','evt-8','accepted','order.paid','1006','op_22bbcb7dca61feed3da4','5324443efed814ee93c88339dd9ed1409d9f825b96c81d7f4f80d37a84ab27c5','{"type": "order.paid", "data": {"service_id": "1006", "plan": "vps-s"}}','{"event": "evt_f4c6b5c284abfe274cce", "operation": "op_22bbcb7dca61feed3da4", "status_url": "http://127.0.0.1:8080/api/operations/op_22bbcb7dca61feed3da4"}','','','','billing:shop',1795000363000);
INSERT INTO "events" VALUES('evt_daacfce5e867e0b610b6',10,'shop','evt-9','accepted','service.reboot','1001','op_902c18bb6f80601f2918','45c54b0bd85d3b31536b6bc54cc0645155d0f7cb35bb21a848d85bf514875907','{"type": "service.reboot", "data": {"service_id": "1001"}}','{"event": "evt_daacfce5e867e0b610b6", "operation": "op_902c18bb6f80601f2918", "status_url": "http://127.0.0.1:8080/api/operations/op_902c18bb6f80601f2918"}','','','','billing:shop',1795000423000);
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,               -- JSON
    updated_at BIGINT NOT NULL
);
INSERT INTO "facts" VALUES('greatest_job','5',1795000363000);
CREATE TABLE operations (
    id TEXT PRIMARY KEY,
    seq BIGINT NOT NULL UNIQUE,        -- the order of acceptance
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN
        ('create', 'link', 'change', 'suspend', 'unsuspend', 'terminate', 'start', 'shutdown', 'stop',
         'reboot', 'force_reboot', 'reinstall', 'reset_password', 'set_rdns', 'backup', 'restore')),
    state TEXT NOT NULL CHECK (state IN
        ('queued', 'running', 'waiting', 'delivering', 'held', 'succeeded', 'failed', 'cancelled')),
    step TEXT NOT NULL,
    args TEXT NOT NULL,                -- JSON, what was asked, resolved at acceptance
    memo TEXT NOT NULL,                -- JSON, what its steps must remember
    sent INTEGER NOT NULL CHECK (sent IN (0, 1)),
    blocks INTEGER NOT NULL CHECK (blocks IN (0, 1, 2)),  -- 0 holds nothing back, 1 all, 2 all but a terminate
    attempts BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    claims BIGINT NOT NULL,            -- the fence of every write-back
    next_run_at BIGINT NOT NULL,       -- while running: when its lease ends
    failing_since BIGINT,
    expires_at BIGINT,
    error_code TEXT NOT NULL,
    error_message TEXT NOT NULL,       -- words for a customer
    error_detail TEXT NOT NULL,        -- words for the operator
    job_id TEXT NOT NULL,
    vmid BIGINT,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    approvals TEXT NOT NULL,           -- JSON list of the reasons that a person has lifted
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    FOREIGN KEY (billing, service_id) REFERENCES services (billing, service_id)
);
INSERT INTO "operations" VALUES('op_ca58912193c07217b914',1,'shop','1001','create','succeeded','follow','{"plan": "vps-s", "spec": {"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}, "hostname": "web1.example.com", "client_id": "7", "recreate": false}','{"attempt": 1, "hooked": true, "sent_at": 1795000000000, "above": null, "listed": [], "progress": 1.0, "job_since": 1795000000000, "waits_for": "job"}',1,0,1,0,7,1795000062000,NULL,NULL,'','','','1',4001,'billing:shop','evt_933b92331509535c9cc6','[]',1795000000000,1795000002000);
INSERT INTO "operations" VALUES('op_14589da6894f86496ebf',2,'shop','1001','set_rdns','succeeded','send','{"ip": null, "hostname": "web1.example.com", "create": "op_ca58912193c07217b914"}','{"attempt": 1, "hooked": true}',1,0,1,0,3,1795000062000,NULL,NULL,'','','','',4001,'billing:shop','evt_933b92331509535c9cc6','[]',1795000000000,1795000002000);
INSERT INTO "operations" VALUES('op_269e0b3d2f67e3fd25f8',3,'shop','1002','create','succeeded','follow','{"plan": "vps-s", "spec": {"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}, "hostname": "", "client_id": "", "recreate": false}','{"attempt": 1, "hooked": true, "sent_at": 1795000002000, "above": 1, "listed": [4001], "progress": 1.0, "job_since": 1795000002000, "waits_for": "job"}',1,0,1,0,7,1795000064000,NULL,NULL,'','','','2',4002,'billing:shop','evt_9e64e8f765579ec76689','[]',1795000002000,1795000004000);
INSERT INTO "operations" VALUES('op_54d3e77dd4042e4a5dca',4,'shop','1002','suspend','succeeded','off','{"reason": "overdue", "force": false, "lock": true}','{"attempt": 1, "hooked": true, "ran": true, "shutdown_at": 1795000062000, "waits_for": "shutdown"}',1,0,1,0,4,1795000123000,NULL,NULL,'','','','',4002,'billing:shop','evt_539f1a179ac9be2299ff','[]',1795000062000,1795000063000);
INSERT INTO "operations" VALUES('op_a627ad6cd1c605e31777',5,'shop','1003','create','succeeded','follow','{"plan": "vps-s", "spec": {"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}, "hostname": "", "client_id": "", "recreate": false}','{"attempt": 1, "hooked": true, "sent_at": 1795000063000, "above": 2, "listed": [4001, 4002], "progress": 1.0, "job_since": 1795000063000, "waits_for": "job"}',1,0,1,0,7,1795000125000,NULL,NULL,'','','','3',4003,'billing:shop','evt_c2e2b4ae8c6f6f53c251','[]',1795000063000,1795000065000);
INSERT INTO "operations" VALUES('op_04813d37bdb8ed0e02a0',6,'shop','1003','terminate','waiting','grace','{"immediate": false}','{"attempt": 1, "hooked": true, "was": {"status": "active", "ran": true}, "grace_until": 1795086523000, "shutdown_at": 1795000123000, "waits_for": "grace"}',1,1,1,0,2,1795086523000,NULL,NULL,'','','','',4003,'billing:shop','evt_bf5844b77818fad6de51','[]',1795000123000,1795000124000);
INSERT INTO "operations" VALUES('op_5c5de10d8e5e84c0036a',7,'shop','1004','create','succeeded','follow','{"plan": "vps-l", "spec": {"template": "Debian10.0", "cpu_cores": 4, "mem": 8192, "disk": "80G", "ip_count": 1}, "hostname": "", "client_id": "", "recreate": false}','{"attempt": 1, "hooked": true, "sent_at": 1795000243000, "above": 3, "listed": [4001, 4002, 4003], "progress": 1.0, "job_since": 1795000243000, "waits_for": "job"}',1,0,1,0,7,1795000305000,NULL,NULL,'','','','4',4004,'billing:shop','evt_ce66777d5d4554875195','[]',1795000243000,1795000245000);
INSERT INTO "operations" VALUES('op_b37bc619bd4872f9336a',8,'shop','1004','change','failed','begin','{"plan": "vps-l", "disk_shrink": "refuse", "template_ignored": false, "spec": {"template": "Debian10.0", "cpu_cores": 4, "mem": 8192, "disk": "20G", "ip_count": 1}, "options": {"disk": "20G"}}','{"attempt": 1, "hooked": true}',0,0,1,0,2,1795000363000,NULL,NULL,'disk_smaller','A disk cannot be made smaller.','the disk is 80G, asked for was 20G; nothing was sent','',4004,'billing:shop','evt_c60f4acf5e378fa5a6df','[]',1795000303000,1795000303000);
INSERT INTO "operations" VALUES('op_22bbcb7dca61feed3da4',9,'shop','1006','create','delivering','follow','{"plan": "vps-s", "spec": {"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}, "hostname": "", "client_id": "", "recreate": false}','{"attempt": 1, "hooked": true, "sent_at": 1795000363000, "above": 4, "listed": [4001, 4002, 4003, 4004], "progress": 1.0, "job_since": 1795000363000, "waits_for": "job"}',1,0,1,0,6,1795000425000,NULL,NULL,'','','','5',4005,'billing:shop','evt_f4c6b5c284abfe274cce','[]',1795000363000,1795000365000);
INSERT INTO "operations" VALUES('op_902c18bb6f80601f2918',10,'shop','1001','reboot','queued','begin','{}','{}',0,1,0,0,0,1795000423000,NULL,1795001323000,'','','','',NULL,'billing:shop','evt_daacfce5e867e0b610b6','[]',1795000423000,1795000423000);
CREATE TABLE schema_version (
    version BIGINT NOT NULL
);
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE services (
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    seq BIGINT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status IN
        ('pending', 'active', 'suspended', 'terminating', 'terminated', 'failed')),
    plan TEXT NOT NULL,
    spec TEXT NOT NULL,                -- JSON, as last asked for and carried out; '' before that
    config TEXT NOT NULL,              -- JSON, as the upstream last showed it; '' before that
    vmid BIGINT,
    ips TEXT NOT NULL,                 -- JSON list
    ips_complete INTEGER NOT NULL CHECK (ips_complete IN (0, 1)),
    hostname TEXT NOT NULL,
    client_id TEXT NOT NULL,
    suspend_reason TEXT NOT NULL,
    locked INTEGER NOT NULL CHECK (locked IN (0, 1)),
    ran_before_suspend INTEGER CHECK (ran_before_suspend IN (0, 1)),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (billing, service_id)
);
INSERT INTO "services" VALUES('shop','1001',1,'active','vps-s','{"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}','{"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}',4001,'["192.0.2.1"]',1,'web1.example.com','7','',0,NULL,1795000000000,1795000002000);
INSERT INTO "services" VALUES('shop','1002',2,'suspended','vps-s','{"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}','{"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}',4002,'["192.0.2.2"]',1,'','','overdue',1,1,1795000002000,1795000063000);
INSERT INTO "services" VALUES('shop','1003',3,'terminating','vps-s','{"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}','{"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}',4003,'["192.0.2.3"]',1,'','','',0,NULL,1795000063000,1795000123000);
INSERT INTO "services" VALUES('shop','1004',4,'active','vps-l','{"template": "Debian10.0", "cpu_cores": 4, "mem": 8192, "disk": "80G", "ip_count": 1}','{"template": "Debian10.0", "cpu_cores": 4, "mem": 8192, "disk": "80G", "ip_count": 1}',4004,'["192.0.2.4"]',1,'','','',0,NULL,1795000243000,1795000245000);
INSERT INTO "services" VALUES('shop','1006',5,'active','vps-s','{"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}','{"template": "Debian10.0", "cpu_cores": 1, "mem": 1024, "disk": "10G", "ip_count": 1}',4005,'["192.0.2.5"]',1,'','','',0,NULL,1795000363000,1795000365000);
CREATE TABLE timeline (
    operation TEXT NOT NULL,
    position BIGINT NOT NULL,
    at BIGINT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,              -- JSON, redacted
    actor TEXT NOT NULL,
    PRIMARY KEY (operation, position)
);
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',1,1795000000000,'accepted','{"kind": "create", "event": "evt_933b92331509535c9cc6"}','billing:shop');
INSERT INTO "timeline" VALUES('op_14589da6894f86496ebf',1,1795000000000,'accepted','{"kind": "set_rdns", "event": "evt_933b92331509535c9cc6"}','billing:shop');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',2,1795000000000,'running','{"step": "begin", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',3,1795000000000,'intent','{"then": "lost"}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',4,1795000000000,'upstream','{"call": "GET datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": []}", "ms": 9}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',5,1795000000000,'intent','{"then": "lost"}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',6,1795000000000,'upstream','{"call": "POST datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"queued\", \"jobId\": 1, \"progress\": 0}}", "ms": 5}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',7,1795000000000,'upstream','{"call": "GET job/1", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"queued\", \"progress\": 0, \"output\": null}}", "ms": 3}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',8,1795000000500,'upstream','{"call": "GET job/1", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.0, \"output\": null}}", "ms": 5}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',9,1795000001000,'upstream','{"call": "GET job/1", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.33, \"output\": null}}", "ms": 3}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',10,1795000001500,'upstream','{"call": "GET job/1", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.67, \"output\": null}}", "ms": 5}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',11,1795000002000,'upstream','{"call": "GET job/1", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"finished\", \"progress\": 1, \"output\": {\"vmid\": 4001, \"ips\": [\"192.0.2.1\"], \"user\": \"root\"}}}", "ms": 7}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',12,1795000002000,'done','{"from": "running", "to": "delivering"}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',13,1795000002000,'delivered','{"delivery": "msg_42bc57306e23c5f46c89", "type": "service.provisioned", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_ca58912193c07217b914',14,1795000002000,'succeeded','{"from": "delivering", "to": "succeeded"}','service');
INSERT INTO "timeline" VALUES('op_14589da6894f86496ebf',2,1795000002000,'running','{"step": "begin", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_14589da6894f86496ebf',3,1795000002000,'intent','{"then": "send"}','service');
INSERT INTO "timeline" VALUES('op_14589da6894f86496ebf',4,1795000002000,'upstream','{"call": "POST datacenter/server/4001/rdns", "status": 200, "outcome": "ok", "answer": "{\"result\": true}", "ms": 5}','service');
INSERT INTO "timeline" VALUES('op_14589da6894f86496ebf',5,1795000002000,'done','{"from": "running", "to": "delivering"}','service');
INSERT INTO "timeline" VALUES('op_14589da6894f86496ebf',6,1795000002000,'delivered','{"delivery": "msg_fcfb855fcfcd31361667", "type": "service.action", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_14589da6894f86496ebf',7,1795000002000,'succeeded','{"from": "delivering", "to": "succeeded"}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',1,1795000002000,'accepted','{"kind": "create", "event": "evt_9e64e8f765579ec76689"}','billing:shop');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',2,1795000002000,'running','{"step": "begin", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',3,1795000002000,'intent','{"then": "lost"}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',4,1795000002000,'upstream','{"call": "GET datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": [4001]}", "ms": 2}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',5,1795000002000,'intent','{"then": "lost"}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',6,1795000002000,'upstream','{"call": "POST datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"queued\", \"jobId\": 2, \"progress\": 0}}", "ms": 14}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',7,1795000002000,'upstream','{"call": "GET job/2", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"queued\", \"progress\": 0, \"output\": null}}", "ms": 7}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',8,1795000002500,'upstream','{"call": "GET job/2", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.0, \"output\": null}}", "ms": 10}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',9,1795000003000,'upstream','{"call": "GET job/2", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.33, \"output\": null}}", "ms": 6}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',10,1795000003500,'upstream','{"call": "GET job/2", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.67, \"output\": null}}", "ms": 4}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',11,1795000004000,'upstream','{"call": "GET job/2", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"finished\", \"progress\": 1, \"output\": {\"vmid\": 4002, \"ips\": [\"192.0.2.2\"], \"user\": \"root\"}}}", "ms": 3}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',12,1795000004000,'done','{"from": "running", "to": "delivering"}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',13,1795000004000,'delivered','{"delivery": "msg_55003d2f6b0edbf90bfa", "type": "service.provisioned", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_269e0b3d2f67e3fd25f8',14,1795000004000,'succeeded','{"from": "delivering", "to": "succeeded"}','service');
INSERT INTO "timeline" VALUES('op_54d3e77dd4042e4a5dca',1,1795000062000,'accepted','{"kind": "suspend", "event": "evt_539f1a179ac9be2299ff"}','billing:shop');
INSERT INTO "timeline" VALUES('op_54d3e77dd4042e4a5dca',2,1795000062000,'running','{"step": "begin", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_54d3e77dd4042e4a5dca',3,1795000062000,'upstream','{"call": "GET datacenter/server/4002/status", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"cpu\": 0.02, \"mem\": 472446402, \"memfree\": 601295422, \"netin\": 2610, \"netout\": 2378, \"uptime\": 58, \"state\": \"running\"}}", "ms": 8}','service');
INSERT INTO "timeline" VALUES('op_54d3e77dd4042e4a5dca',4,1795000062000,'intent','{"then": "shutdown"}','service');
INSERT INTO "timeline" VALUES('op_54d3e77dd4042e4a5dca',5,1795000062000,'upstream','{"call": "PUT datacenter/server/4002/shutdown", "status": 200, "outcome": "ok", "answer": "{\"result\": true}", "ms": 5}','service');
INSERT INTO "timeline" VALUES('op_54d3e77dd4042e4a5dca',6,1795000062000,'upstream','{"call": "GET datacenter/server/4002/status", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"cpu\": 0.02, \"mem\": 472446402, \"memfree\": 601295422, \"netin\": 2610, \"netout\": 2378, \"uptime\": 58, \"state\": \"running\"}}", "ms": 7}','service');
INSERT INTO "timeline" VALUES('op_54d3e77dd4042e4a5dca',7,1795000063000,'upstream','{"call": "GET datacenter/server/4002/status", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"cpu\": 0, \"mem\": 0, \"memfree\": 1073741824, \"netin\": 0, \"netout\": 0, \"uptime\": 0, \"state\": \"stopped\"}}", "ms": 4}','service');
INSERT INTO "timeline" VALUES('op_54d3e77dd4042e4a5dca',8,1795000063000,'done','{"from": "running", "to": "delivering"}','service');
INSERT INTO "timeline" VALUES('op_54d3e77dd4042e4a5dca',9,1795000063000,'delivered','{"delivery": "msg_21cefa60cc8375a970c2", "type": "service.suspended", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_54d3e77dd4042e4a5dca',10,1795000063000,'succeeded','{"from": "delivering", "to": "succeeded"}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',1,1795000063000,'accepted','{"kind": "create", "event": "evt_c2e2b4ae8c6f6f53c251"}','billing:shop');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',2,1795000063000,'running','{"step": "begin", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',3,1795000063000,'intent','{"then": "lost"}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',4,1795000063000,'upstream','{"call": "GET datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": [4001, 4002]}", "ms": 2}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',5,1795000063000,'intent','{"then": "lost"}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',6,1795000063000,'upstream','{"call": "POST datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"queued\", \"jobId\": 3, \"progress\": 0}}", "ms": 9}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',7,1795000063000,'upstream','{"call": "GET job/3", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"queued\", \"progress\": 0, \"output\": null}}", "ms": 3}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',8,1795000063500,'upstream','{"call": "GET job/3", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.0, \"output\": null}}", "ms": 3}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',9,1795000064000,'upstream','{"call": "GET job/3", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.33, \"output\": null}}", "ms": 13}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',10,1795000064500,'upstream','{"call": "GET job/3", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.67, \"output\": null}}", "ms": 3}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',11,1795000065000,'upstream','{"call": "GET job/3", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"finished\", \"progress\": 1, \"output\": {\"vmid\": 4003, \"ips\": [\"192.0.2.3\"], \"user\": \"root\"}}}", "ms": 5}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',12,1795000065000,'done','{"from": "running", "to": "delivering"}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',13,1795000065000,'delivered','{"delivery": "msg_b2b0c2399a9270c11b3f", "type": "service.provisioned", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_a627ad6cd1c605e31777',14,1795000065000,'succeeded','{"from": "delivering", "to": "succeeded"}','service');
INSERT INTO "timeline" VALUES('op_04813d37bdb8ed0e02a0',1,1795000123000,'accepted','{"kind": "terminate", "event": "evt_bf5844b77818fad6de51"}','billing:shop');
INSERT INTO "timeline" VALUES('op_04813d37bdb8ed0e02a0',2,1795000123000,'running','{"step": "begin", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_04813d37bdb8ed0e02a0',3,1795000123000,'upstream','{"call": "GET datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": [4001, 4002, 4003]}", "ms": 5}','service');
INSERT INTO "timeline" VALUES('op_04813d37bdb8ed0e02a0',4,1795000123000,'upstream','{"call": "GET datacenter/server/4003/config", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"cpuCount\": 1, \"mem\": 1024, \"disk\": \"10G\", \"ipCount\": 1}}", "ms": 4}','service');
INSERT INTO "timeline" VALUES('op_04813d37bdb8ed0e02a0',5,1795000123000,'upstream','{"call": "GET datacenter/server/4003/status", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"cpu\": 0.02, \"mem\": 472446402, \"memfree\": 601295422, \"netin\": 2610, \"netout\": 2378, \"uptime\": 58, \"state\": \"running\"}}", "ms": 11}','service');
INSERT INTO "timeline" VALUES('op_04813d37bdb8ed0e02a0',6,1795000123000,'intent','{"then": "shutdown"}','service');
INSERT INTO "timeline" VALUES('op_04813d37bdb8ed0e02a0',7,1795000123000,'upstream','{"call": "PUT datacenter/server/4003/shutdown", "status": 200, "outcome": "ok", "answer": "{\"result\": true}", "ms": 2}','service');
INSERT INTO "timeline" VALUES('op_04813d37bdb8ed0e02a0',8,1795000123000,'upstream','{"call": "GET datacenter/server/4003/status", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"cpu\": 0.02, \"mem\": 472446402, \"memfree\": 601295422, \"netin\": 2610, \"netout\": 2378, \"uptime\": 58, \"state\": \"running\"}}", "ms": 5}','service');
INSERT INTO "timeline" VALUES('op_04813d37bdb8ed0e02a0',9,1795000124000,'upstream','{"call": "GET datacenter/server/4003/status", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"cpu\": 0, \"mem\": 0, \"memfree\": 1073741824, \"netin\": 0, \"netout\": 0, \"uptime\": 0, \"state\": \"stopped\"}}", "ms": 2}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',1,1795000243000,'accepted','{"kind": "create", "event": "evt_ce66777d5d4554875195"}','billing:shop');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',2,1795000243000,'running','{"step": "begin", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',3,1795000243000,'intent','{"then": "lost"}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',4,1795000243000,'upstream','{"call": "GET datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": [4001, 4002, 4003]}", "ms": 2}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',5,1795000243000,'intent','{"then": "lost"}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',6,1795000243000,'upstream','{"call": "POST datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"queued\", \"jobId\": 4, \"progress\": 0}}", "ms": 11}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',7,1795000243000,'upstream','{"call": "GET job/4", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"queued\", \"progress\": 0, \"output\": null}}", "ms": 1}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',8,1795000243500,'upstream','{"call": "GET job/4", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.0, \"output\": null}}", "ms": 2}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',9,1795000244000,'upstream','{"call": "GET job/4", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.33, \"output\": null}}", "ms": 1}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',10,1795000244500,'upstream','{"call": "GET job/4", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.67, \"output\": null}}", "ms": 1}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',11,1795000245000,'upstream','{"call": "GET job/4", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"finished\", \"progress\": 1, \"output\": {\"vmid\": 4004, \"ips\": [\"192.0.2.4\"], \"user\": \"root\"}}}", "ms": 1}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',12,1795000245000,'done','{"from": "running", "to": "delivering"}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',13,1795000245000,'delivered','{"delivery": "msg_a22d8832546efe0eb8c0", "type": "service.provisioned", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_5c5de10d8e5e84c0036a',14,1795000245000,'succeeded','{"from": "delivering", "to": "succeeded"}','service');
INSERT INTO "timeline" VALUES('op_b37bc619bd4872f9336a',1,1795000303000,'accepted','{"kind": "change", "event": "evt_c60f4acf5e378fa5a6df"}','billing:shop');
INSERT INTO "timeline" VALUES('op_b37bc619bd4872f9336a',2,1795000303000,'running','{"step": "begin", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_b37bc619bd4872f9336a',3,1795000303000,'upstream','{"call": "GET datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": [4001, 4002, 4003, 4004]}", "ms": 2}','service');
INSERT INTO "timeline" VALUES('op_b37bc619bd4872f9336a',4,1795000303000,'upstream','{"call": "GET datacenter/server/4004/config", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"cpuCount\": 4, \"mem\": 8192, \"disk\": \"80G\", \"ipCount\": 1}}", "ms": 2}','service');
INSERT INTO "timeline" VALUES('op_b37bc619bd4872f9336a',5,1795000303000,'failed','{"from": "running", "to": "failed", "code": "disk_smaller", "message": "the disk is 80G, asked for was 20G; nothing was sent"}','service');
INSERT INTO "timeline" VALUES('op_b37bc619bd4872f9336a',6,1795000303000,'delivered','{"delivery": "msg_31fba92f1f7c4213f577", "type": "operation.failed", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',1,1795000363000,'accepted','{"kind": "create", "event": "evt_f4c6b5c284abfe274cce"}','billing:shop');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',2,1795000363000,'running','{"step": "begin", "attempt": 1}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',3,1795000363000,'intent','{"then": "lost"}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',4,1795000363000,'upstream','{"call": "GET datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": [4001, 4002, 4003, 4004]}", "ms": 2}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',5,1795000363000,'intent','{"then": "lost"}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',6,1795000363000,'upstream','{"call": "POST datacenter/server", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"queued\", \"jobId\": 5, \"progress\": 0}}", "ms": 7}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',7,1795000363000,'upstream','{"call": "GET job/5", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"queued\", \"progress\": 0, \"output\": null}}", "ms": 3}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',8,1795000363500,'upstream','{"call": "GET job/5", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.0, \"output\": null}}", "ms": 3}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',9,1795000364000,'upstream','{"call": "GET job/5", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.33, \"output\": null}}", "ms": 5}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',10,1795000364500,'upstream','{"call": "GET job/5", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"executing\", \"progress\": 0.67, \"output\": null}}", "ms": 3}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',11,1795000365000,'upstream','{"call": "GET job/5", "status": 200, "outcome": "ok", "answer": "{\"result\": {\"status\": \"finished\", \"progress\": 1, \"output\": {\"vmid\": 4005, \"ips\": [\"192.0.2.5\"], \"user\": \"root\"}}}", "ms": 5}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',12,1795000365000,'done','{"from": "running", "to": "delivering"}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',13,1795000365000,'delivery_failed','{"delivery": "msg_326a50ce0f82b71ed4ac", "type": "service.provisioned", "message": "POST http://127.0.0.1:42923/provisioning: Connection refused", "attempt": 1, "after_s": 1.8}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',14,1795000366823,'delivery_failed','{"delivery": "msg_326a50ce0f82b71ed4ac", "type": "service.provisioned", "message": "POST http://127.0.0.1:42923/provisioning: Connection refused", "attempt": 2, "after_s": 3.3}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',15,1795000370124,'delivery_failed','{"delivery": "msg_326a50ce0f82b71ed4ac", "type": "service.provisioned", "message": "POST http://127.0.0.1:42923/provisioning: Connection refused", "attempt": 3, "after_s": 8.6}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',16,1795000378727,'delivery_failed','{"delivery": "msg_326a50ce0f82b71ed4ac", "type": "service.provisioned", "message": "POST http://127.0.0.1:42923/provisioning: Connection refused", "attempt": 4, "after_s": 12.6}','service');
INSERT INTO "timeline" VALUES('op_22bbcb7dca61feed3da4',17,1795000391306,'delivery_failed','{"delivery": "msg_326a50ce0f82b71ed4ac", "type": "service.provisioned", "message": "POST http://127.0.0.1:42923/provisioning: Connection refused", "attempt": 5, "after_s": 32.6}','service');
INSERT INTO "timeline" VALUES('op_902c18bb6f80601f2918',1,1795000423000,'accepted','{"kind": "reboot", "event": "evt_daacfce5e867e0b610b6"}','billing:shop');
CREATE TABLE tombstones (
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    vmid BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (billing, service_id, vmid)
);
CREATE UNIQUE INDEX services_by_vmid ON services (vmid) WHERE vmid IS NOT NULL;
CREATE INDEX services_by_billing ON services (billing, seq);
CREATE INDEX services_by_status ON services (status, seq);
CREATE INDEX operations_due ON operations (next_run_at, seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled');
CREATE INDEX operations_by_service ON operations (billing, service_id, seq);
CREATE INDEX operations_blocking ON operations (billing, service_id, seq) WHERE blocks > 0;
CREATE INDEX operations_by_state ON operations (state, seq);
CREATE INDEX operations_by_billing ON operations (billing, seq);
CREATE INDEX operations_by_vmid ON operations (vmid, seq) WHERE vmid IS NOT NULL;
CREATE INDEX operations_by_job ON operations (job_id) WHERE job_id <> '';
CREATE INDEX events_by_state ON events (state, seq);
CREATE INDEX events_by_billing ON events (billing, seq);
CREATE INDEX deliveries_due ON deliveries (next_run_at, seq) WHERE state = 'waiting';
CREATE INDEX deliveries_waiting ON deliveries (billing, service_id, seq) WHERE state = 'waiting';
CREATE INDEX deliveries_hooks_due ON deliveries (next_run_at, seq) WHERE hooks_due = 1;
CREATE INDEX deliveries_given_up ON deliveries (billing, service_id) WHERE state = 'given_up';
CREATE INDEX deliveries_by_operation ON deliveries (operation);
CREATE INDEX brake_passages_by_time ON brake_passages (kind, at);
COMMIT;
