def median_delay(minutes):
    if not minutes:
        return None
    return sorted(minutes)[(len(minutes) - 1) // 2]
