//! SQL over the network: Arrow Flight SQL, for the ports that have the gRPC API.
//!
//! A query runs on threads of its own, so that serving and capture go on beside it, and ends when its client lets go of
//! the stream. What is kept between the calls of a client: prepared statements, and with its connection how complete the
//! previous answer was. How complete an answer is goes before it, in its schema's metadata, as far as it is known then;
//! where it is settled only when all nodes have answered, it comes once more with the last message.

mod catalog;
mod prepared;
mod running;
pub mod session;
mod status;

use std::pin::Pin;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    Any, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandStatementQuery, DoPutPreparedStatementResult,
    ProstMessageExt as _, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage,
    SchemaAsIpc, Ticket,
};
use arrow_ipc::writer::IpcWriteOptions;
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use prepared::PreparedStatements;
use running::{Queries, Question};
#[cfg(test)]
pub(crate) use status::code;
use status::{of_error, of_flight};

use crate::coverage::CoverageAtEnd;
use crate::engine::{Engine, Prepared};
use crate::scalar::ScalarValue;
use session::Session;

/// The name of the catalog that everything is in.
const CATALOG: &str = "parallax";
/// The name of its only schema.
const SCHEMA: &str = "public";

/// Messages of an answer, as Flight's `DoGet` has them.
pub type FlightStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Answers the tickets that are none of SQL.
pub trait OtherTickets: Send + Sync + 'static {
    /// The answer.
    ///
    /// # Errors
    /// `InvalidArgument` with what is wrong with the ticket.
    fn answer(&self, ticket: &Ticket) -> Result<FlightStream, Status>;
}

/// Answers SQL over the network.
#[derive(Clone)]
pub struct FlightSqlServer {
    engine: Arc<Engine>,
    queries: Arc<Queries>,
    prepared: Arc<PreparedStatements>,
    others: Arc<dyn OtherTickets>,
    version: &'static str,
}

impl FlightSqlServer {
    /// A server over an engine, that calls itself of this version.
    ///
    /// # Errors
    /// If the system has no threads for queries.
    pub fn new(engine: Arc<Engine>, others: Arc<dyn OtherTickets>, version: &'static str) -> std::io::Result<Self> {
        Ok(Self {
            others,
            queries: Arc::new(Queries::new(engine.limits().threads)?),
            engine,
            prepared: Arc::default(),
            version,
        })
    }

    /// What a client needs to fetch an answer.
    fn info(
        &self,
        schema: &Schema,
        command: &Any,
        descriptor: FlightDescriptor,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = Ticket::new(command.encode_to_vec());
        let info = FlightInfo::new()
            .try_with_schema(schema)
            .map_err(|error| Status::internal(format!("cannot encode a schema: {error}")))?
            .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
            .with_descriptor(descriptor);
        Ok(Response::new(info))
    }

    async fn describe(&self, session: &Session, sql: &str, values: &[ScalarValue]) -> Result<Prepared, Status> {
        let described = self.engine.describe(sql, values, session.previous());
        described.await.map_err(|error| of_error(&error))
    }

    /// Runs a query; its rows go out as they come.
    async fn run(&self, session: Session, statement: Question) -> Result<Response<FlightStream>, Status> {
        let started = self.queries.start(Arc::clone(&self.engine), session, statement);
        let (schema, rows, at_end) = started.await?;
        let messages = encode(schema, rows);
        Ok(Response::new(match at_end {
            Some(coverage) => with_last_word(messages, coverage),
            None => messages,
        }))
    }
}

fn encode(schema: SchemaRef, rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static) -> FlightStream {
    let rows = rows.map_err(|status| arrow_flight::error::FlightError::Tonic(Box::new(status)));
    Box::pin(
        FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .build(rows)
            .map_err(of_flight),
    )
}

/// The messages, of which the last one has the coverage as it is then (`app_metadata`, JSON).
fn with_last_word(messages: FlightStream, coverage: Arc<CoverageAtEnd>) -> FlightStream {
    struct Held {
        messages: FlightStream,
        last: Option<FlightData>,
        coverage: Arc<CoverageAtEnd>,
    }
    let held = Held {
        messages,
        last: None,
        coverage,
    };
    let stream = futures::stream::try_unfold(held, async |mut held| {
        loop {
            let Some(next) = held.messages.try_next().await? else {
                let Some(mut last) = held.last.take() else {
                    return Ok(None);
                };
                last.app_metadata = held.coverage.json().into();
                return Ok(Some((last, held)));
            };
            if let Some(ready) = held.last.replace(next) {
                return Ok(Some((ready, held)));
            }
        }
    });
    Box::pin(stream)
}

fn one(batch: RecordBatch) -> Response<FlightStream> {
    Response::new(encode(batch.schema(), futures::stream::iter([Ok(batch)])))
}

fn schema_message(schema: &Schema) -> Result<Bytes, Status> {
    let message: IpcMessage = SchemaAsIpc::new(schema, &IpcWriteOptions::default())
        .try_into()
        .map_err(|error| Status::internal(format!("cannot encode a schema: {error}")))?;
    Ok(message.0)
}

#[tonic::async_trait]
impl FlightSqlService for FlightSqlServer {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        // Who may ask is decided where connections are accepted; drivers that greet first are answered.
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: Bytes::new(),
        };
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(answer)]))))
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let described = self.describe(&Session::of(&request), &query.query, &[]).await?;
        let ticket = TicketStatementQuery {
            statement_handle: query.query.into(),
        };
        self.info(&described.schema, &ticket.as_any(), request.into_inner())
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        let sql = String::from_utf8(ticket.statement_handle.to_vec())
            .map_err(|_| Status::invalid_argument("the ticket is not one of this server: it is not text"))?;
        let question = Question::of(&request, sql, Vec::new());
        self.run(Session::of(&request), question).await
    }

    async fn do_get_fallback(&self, request: Request<Ticket>, _: Any) -> Result<Response<FlightStream>, Status> {
        self.others.answer(request.get_ref()).map(Response::new)
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let described = self.describe(&Session::of(&request), &query.query, &[]).await?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: self.prepared.add(query.query),
            dataset_schema: schema_message(&described.schema)?,
            parameter_schema: schema_message(&prepared::schema_of(&described.parameters))?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        self.prepared.remove(&query.prepared_statement_handle);
        Ok(())
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let parameters = prepared::read_parameters(request.into_inner()).await?;
        self.prepared.bind(&query.prepared_statement_handle, parameters)?;
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(query.prepared_statement_handle),
        })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let statement = self.prepared.get(&query.prepared_statement_handle)?;
        let session = Session::of(&request);
        let described = self.describe(&session, &statement.sql, &statement.parameters).await?;
        self.info(&described.schema, &query.as_any(), request.into_inner())
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        let statement = self.prepared.get(&query.prepared_statement_handle)?;
        let question = Question::of(&request, statement.sql, statement.parameters);
        self.run(Session::of(&request), question).await
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.info(
            &catalog::catalogs(query)?.schema(),
            &query.as_any(),
            request.into_inner(),
        )
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        _: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        Ok(one(catalog::catalogs(query)?))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let command = query.as_any();
        self.info(&catalog::schemas(query)?.schema(), &command, request.into_inner())
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        _: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        Ok(one(catalog::schemas(query)?))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let command = query.as_any();
        self.info(&query.into_builder().schema(), &command, request.into_inner())
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        _: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        let tables = self.engine.tables().await.map_err(|error| of_error(&error))?;
        Ok(one(catalog::tables(query, &tables)?))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.info(
            &catalog::table_types(query)?.schema(),
            &query.as_any(),
            request.into_inner(),
        )
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        _: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        Ok(one(catalog::table_types(query)?))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let command = query.as_any();
        self.info(
            &catalog::sql_info(query, self.version)?.schema(),
            &command,
            request.into_inner(),
        )
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        _: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        Ok(one(catalog::sql_info(query, self.version)?))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.info(
            &catalog::type_info(query)?.schema(),
            &query.as_any(),
            request.into_inner(),
        )
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        _: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        Ok(one(catalog::type_info(query)?))
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.info(&catalog::primary_keys().schema(), &query.as_any(), request.into_inner())
    }

    async fn do_get_primary_keys(
        &self,
        _: CommandGetPrimaryKeys,
        _: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        Ok(one(catalog::primary_keys()))
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.info(&catalog::foreign_keys().schema(), &query.as_any(), request.into_inner())
    }

    async fn do_get_exported_keys(
        &self,
        _: CommandGetExportedKeys,
        _: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        Ok(one(catalog::foreign_keys()))
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.info(&catalog::foreign_keys().schema(), &query.as_any(), request.into_inner())
    }

    async fn do_get_imported_keys(
        &self,
        _: CommandGetImportedKeys,
        _: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        Ok(one(catalog::foreign_keys()))
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.info(&catalog::foreign_keys().schema(), &query.as_any(), request.into_inner())
    }

    async fn do_get_cross_reference(
        &self,
        _: CommandGetCrossReference,
        _: Request<Ticket>,
    ) -> Result<Response<FlightStream>, Status> {
        Ok(one(catalog::foreign_keys()))
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
