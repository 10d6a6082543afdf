"""On a Citus cluster alone: only there where GRANTBOOK_TEST_CITUS_URL names one."""
