"""The pages inside the UI of Airflow: routes, who may see what, templates; include/progress fills them."""
