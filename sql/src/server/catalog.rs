//! What there is to ask about: tables and their columns, and what the server can do.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, SqlInfo,
};
use arrow_schema::{DataType, Field, Schema};
use tonic::Status;

use super::{CATALOG, SCHEMA};
use crate::engine::TableInfo;

fn failed(error: FlightError) -> Status {
    Status::internal(format!("cannot list what there is: {error}"))
}

pub(super) fn catalogs(query: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut builder = query.into_builder();
    builder.append(CATALOG);
    builder.build().map_err(failed)
}

pub(super) fn schemas(query: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let mut builder = query.into_builder();
    builder.append(CATALOG, SCHEMA);
    builder.build().map_err(failed)
}

pub(super) fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut builder = query.into_builder();
    builder.append("TABLE");
    builder.append("VIEW");
    builder.build().map_err(failed)
}

pub(super) fn tables(query: CommandGetTables, tables: &[TableInfo]) -> Result<RecordBatch, Status> {
    let mut builder = query.into_builder();
    for table in tables {
        builder
            .append(CATALOG, SCHEMA, table.name, table.kind, &table.schema)
            .map_err(failed)?;
    }
    builder.build().map_err(failed)
}

fn info(version: &str) -> Result<SqlInfoData, FlightError> {
    let mut builder = SqlInfoDataBuilder::new();
    builder.append(SqlInfo::FlightSqlServerName, "Parallax");
    builder.append(SqlInfo::FlightSqlServerVersion, version);
    builder.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    builder.append(SqlInfo::FlightSqlServerReadOnly, true);
    builder.append(SqlInfo::FlightSqlServerSql, true);
    builder.append(SqlInfo::FlightSqlServerSubstrait, false);
    builder.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    builder.build()
}

pub(super) fn sql_info(query: CommandGetSqlInfo, version: &str) -> Result<RecordBatch, Status> {
    let info = info(version).map_err(failed)?;
    query.into_builder(&info).build().map_err(failed)
}

pub(super) fn type_info(query: CommandGetXdbcTypeInfo) -> Result<RecordBatch, Status> {
    let nothing = XdbcTypeInfoDataBuilder::new().build().map_err(failed)?;
    query.into_builder(&nothing).build().map_err(failed)
}

/// Tables have no keys: an empty answer of the form that Flight SQL asks for.
pub(super) fn primary_keys() -> RecordBatch {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    RecordBatch::new_empty(Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ])))
}

/// As [`primary_keys`], for keys between tables.
pub(super) fn foreign_keys() -> RecordBatch {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    RecordBatch::new_empty(Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ])))
}
