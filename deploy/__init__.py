"""What it takes to run Gapwatch: images, dashboards, rules, and what generates them."""
