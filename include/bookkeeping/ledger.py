"""The ledger: the only writer of the bookkeeping database."""

from __future__ import annotations

from include.bookkeeping.ledger_actions import LedgerActions
from include.bookkeeping.ledger_admission import LedgerAdmission
from include.bookkeeping.ledger_campaign_page import LedgerCampaignPage
from include.bookkeeping.ledger_diagnoses import LedgerDiagnoses
from include.bookkeeping.ledger_exclusions import LedgerExclusions
from include.bookkeeping.ledger_in_flight import LedgerInFlight
from include.bookkeeping.ledger_jobs import LedgerJobs
from include.bookkeeping.ledger_lookup import LedgerLookup
from include.bookkeeping.ledger_merges import LedgerMerges
from include.bookkeeping.ledger_nodes import LedgerNodes
from include.bookkeeping.ledger_outputs import LedgerOutputs
from include.bookkeeping.ledger_oversight import LedgerOversight
from include.bookkeeping.ledger_overview import LedgerOverview
from include.bookkeeping.ledger_progress import LedgerProgress
from include.bookkeeping.ledger_removal import LedgerRemoval
from include.bookkeeping.ledger_report import LedgerReport
from include.bookkeeping.ledger_slices import LedgerSlices
from include.bookkeeping.ledger_submissions import LedgerSubmissions


class Ledger(
    LedgerSlices,
    LedgerSubmissions,
    LedgerAdmission,
    LedgerInFlight,
    LedgerJobs,
    LedgerOutputs,
    LedgerMerges,
    LedgerProgress,
    LedgerOversight,
    LedgerDiagnoses,
    LedgerActions,
    LedgerExclusions,
    LedgerNodes,
    LedgerRemoval,
    LedgerOverview,
    LedgerCampaignPage,
    LedgerLookup,
    LedgerReport,
):
    """What is known of every campaign, in SQLite or Postgres.

    Every method is one transaction, and safe to call again with the same arguments. What goes wrong in the
    database is a LedgerError that names it; LedgerUnavailable where trying again helps.
    """
