"""Airflow's side of prodsys: DAGs from plans, operators, triggers. Thin: decisions are made in `include`."""
