-- pre: what delivering has done once and must not do again: a mail sent, a ticket opened, by operation.
CREATE TABLE marks (
    subject TEXT NOT NULL,             -- an operation, or a delivery that has none
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (subject, name)
);
