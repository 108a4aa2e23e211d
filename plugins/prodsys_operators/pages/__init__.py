"""The pages inside Airflow's UI: routes, who may see what, templates; content is include/progress's."""
