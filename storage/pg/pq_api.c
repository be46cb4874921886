#include "storage/pg/pq.h"

#include "storage/pg/pq_api.h"

/* From libpq 17 on a sync need not be a send of its own. */
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
#define PIPELINE_SYNC PQsendPipelineSync
#else
#define PIPELINE_SYNC PQpipelineSync
#endif

const struct pq_api pq_libpq = {
    .connect_start = PQconnectStartParams,
    .connect_poll = PQconnectPoll,
    .status = PQstatus,
    .socket = PQsocket,
    .finish = PQfinish,
    .error_message = PQerrorMessage,
    .set_nonblocking = PQsetnonblocking,
    .enter_pipeline = PQenterPipelineMode,
    .exit_pipeline = PQexitPipelineMode,
    .send_prepare = PQsendPrepare,
    .send_prepared = PQsendQueryPrepared,
    .send_params = PQsendQueryParams,
    .sync = PIPELINE_SYNC,
    .flush = PQflush,
    .consume = PQconsumeInput,
    .is_busy = PQisBusy,
    .get_result = PQgetResult,
    .error_field = PQresultErrorField,
    .single_row = PQsetSingleRowMode,
    .set_notice = PQsetNoticeProcessor,
};
