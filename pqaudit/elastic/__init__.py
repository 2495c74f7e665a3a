"""Findings in Elasticsearch and OpenSearch: connecting, templates, spool, delivery and questions."""
