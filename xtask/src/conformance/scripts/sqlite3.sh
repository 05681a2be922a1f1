# shellcheck shell=sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# A table, an index, and a sort that goes to a file.
exec sqlite3 database '
    CREATE TABLE numbers(value INTEGER, text TEXT);
    WITH RECURSIVE count(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM count WHERE n < 50000)
    INSERT INTO numbers SELECT n * 7919 % 50021, hex(n) FROM count;
    CREATE INDEX by_text ON numbers(text);
    SELECT sum(value), count(DISTINCT text) FROM numbers;
    SELECT value FROM numbers ORDER BY text DESC LIMIT 3;
    PRAGMA integrity_check;
'
