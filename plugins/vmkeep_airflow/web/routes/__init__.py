"""The routes, a module for each page: it loads the page's view model, and gives it as HTML and as JSON."""

from vmkeep_airflow.web.routes.listed import ROUTERS

__all__ = ["ROUTERS"]
