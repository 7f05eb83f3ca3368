"""What everything else stands on: errors, argument checks, static values, trees."""
