"""What text and images cost a target model: profiles, token counts and the price of images."""

from optical_memory.budget.images import image_tokens
from optical_memory.budget.profile import Price, Profile, get_profile, profiles
from optical_memory.budget.tokens import count_message, count_tokens

__all__ = ["Price", "Profile", "count_message", "count_tokens", "get_profile", "image_tokens", "profiles"]
