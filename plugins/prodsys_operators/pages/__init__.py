"""The pages inside the UI of Airflow: routes, who may see what, templates; their content is include/progress."""
