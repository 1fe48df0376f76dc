"""The SQL of files with older schemas."""

SCHEMA_1 = [
    "PRAGMA journal_mode = wal",
    """CREATE TABLE "orders" ("sequence" INTEGER NOT NULL PRIMARY KEY, "order_id" INTEGER NOT NULL,
        "user_id" INTEGER NOT NULL, "item_ids" TEXT NOT NULL, "total_amount" INTEGER NOT NULL, "metadata" TEXT,
        "status" TEXT NOT NULL, "attempts" INTEGER NOT NULL, "claims" INTEGER NOT NULL, "error" TEXT,
        "created_us" INTEGER NOT NULL, "processed_us" INTEGER)""",
    'CREATE UNIQUE INDEX "orders_order_id" ON "orders" ("order_id")',
    """CREATE INDEX "orders_pending" ON "orders" ("sequence") WHERE status = 'Pending'""",
    """CREATE INDEX "orders_processing" ON "orders" ("sequence") WHERE status = 'Processing'""",
    """CREATE TABLE "totals" ("id" INTEGER NOT NULL PRIMARY KEY, "pending" INTEGER NOT NULL,
        "processing" INTEGER NOT NULL, "completed" INTEGER NOT NULL, "failed" INTEGER NOT NULL,
        "cancelled" INTEGER NOT NULL, "processing_us" INTEGER NOT NULL)""",
    "INSERT INTO totals VALUES (1, 1, 1, 1, 0, 0, 5)",
    """INSERT INTO orders VALUES (1, 11, 1, '[1,2]', 999900, NULL, 'Completed', 1, 1, NULL, 10, 15),
        (2, 12, 1, '[3]', 1, '{ "a": 1 }', 'Processing', 2, 3, NULL, 20, NULL),
        (3, 13, 1, '[4]', 2, NULL, 'Pending', 0, 0, NULL, 30, NULL)""",
    "PRAGMA application_id = 1330791506",
    "PRAGMA user_version = 1",
]
"""Creates a file exactly as the code with schema version 1 did. Do not update it when the schema changes."""

SCHEMA_2 = [
    *SCHEMA_1[:1],
    """CREATE TABLE "orders" ("sequence" INTEGER NOT NULL PRIMARY KEY, "order_id" INTEGER NOT NULL,
        "user_id" INTEGER NOT NULL, "item_ids" TEXT NOT NULL, "total_amount" INTEGER NOT NULL, "metadata" TEXT,
        "status" TEXT NOT NULL, "attempts" INTEGER NOT NULL, "claims" INTEGER NOT NULL, "error" TEXT,
        "created_us" INTEGER NOT NULL, "processed_us" INTEGER, "due_us" INTEGER)""",
    'CREATE UNIQUE INDEX "orders_order_id" ON "orders" ("order_id")',
    """CREATE INDEX "orders_pending" ON "orders" ("due_us", "sequence") WHERE status = 'Pending'""",
    """CREATE INDEX "orders_waiting" ON "orders" ("sequence") WHERE status = 'Pending' AND due_us IS NOT NULL""",
    """CREATE INDEX "orders_processing" ON "orders" ("sequence") WHERE status = 'Processing'""",
    """CREATE INDEX "orders_failed" ON "orders" ("sequence") WHERE status = 'Failed'""",
    """CREATE TABLE "totals" ("id" INTEGER NOT NULL PRIMARY KEY, "pending" INTEGER NOT NULL,
        "processing" INTEGER NOT NULL, "completed" INTEGER NOT NULL, "failed" INTEGER NOT NULL,
        "cancelled" INTEGER NOT NULL, "processing_us" INTEGER NOT NULL)""",
    "INSERT INTO totals VALUES (1, 1, 0, 1, 0, 1, 5)",
    """INSERT INTO orders VALUES (1, 11, 1, '[1,2]', 999900, NULL, 'Completed', 1, 1, NULL, 10, 15, NULL),
        (2, 12, 2, '[3]', 1, '{ "a": 1 }', 'Cancelled', 0, 0, NULL, 20, NULL, NULL),
        (3, 13, 1, '[4]', 2, NULL, 'Pending', 1, 1, 'down', 30, NULL, 40)""",
    "PRAGMA application_id = 1330791506",
    "PRAGMA user_version = 2",
]


SCHEMA_3 = [
    *SCHEMA_2[:-4],
    """CREATE INDEX "orders_user" ON "orders" (sequence >> 11, "user_id")""",
    """CREATE INDEX "orders_created" ON "orders" (sequence >> 11, "created_us")""",
    """CREATE INDEX "orders_completed" ON "orders" ("sequence") WHERE status = 'Completed'""",
    """CREATE INDEX "orders_cancelled" ON "orders" ("sequence") WHERE status = 'Cancelled'""",
    "INSERT INTO totals VALUES (1, 1, 1, 1, 0, 0, 5)",
    """INSERT INTO orders VALUES (1, 11, 1, '[1,2]', 999900, NULL, 'Completed', 2, 2, NULL, 10, 15, NULL),
        (2, 12, 2, '[3]', 1, '{ "a": 1 }', 'Processing', 1, 1, NULL, 20, NULL, NULL),
        (3, 13, 1, '[4]', 2, NULL, 'Pending', 1, 1, 'down', 30, NULL, 40)""",
    "PRAGMA application_id = 1330791506",
    "PRAGMA user_version = 3",
]
